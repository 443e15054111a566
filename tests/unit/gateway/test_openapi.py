"""Merging: only what is passed on, names that collide, services that are away."""

from typing import Any

from services.gateway.openapi import merge
from services.gateway.routes import BY_CONNECTOR_TYPE, Needs, Route

ROUTES = (
    Route("GET", "/spaces/{slug}", "aggregator"),
    Route("POST", "/connectors/{connector_id}/test", BY_CONNECTOR_TYPE, Needs.CONNECTOR),
)


def _operation(schema: str, **more: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"operationId": "get_it", "responses": {"200": {"description": "OK", "content": content}}, **more}


def _document(paths: dict[str, Any], **schemas: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "x"}, "paths": paths, "components": {"schemas": schemas}}


ERROR = {"type": "object", "title": "Error"}
OWN = _document({"/tenants": {"get": _operation("Page")}}, Page={"title": "the gateway's"}, Error=ERROR)
SPACES = _document(
    {
        "/spaces/{space}": {"get": _operation("Page"), "delete": _operation("Hidden")},
        "/readyz": {"get": _operation("Error")},
    },
    Page={"title": "the aggregator's", "properties": {"item": {"$ref": "#/components/schemas/Item"}}},
    Item={"title": "Item", "properties": {"error": {"$ref": "#/components/schemas/Error"}}},
    Error=ERROR,
    Hidden={"title": "Hidden"},
)


def test_only_routes_of_the_table_show() -> None:
    merged = merge(OWN, {"aggregator": SPACES}, ROUTES)
    assert set(merged["paths"]) == {"/tenants", "/spaces/{space}"}
    assert set(merged["paths"]["/spaces/{space}"]) == {"get"}
    assert "Hidden" not in merged["components"]["schemas"]


def test_a_name_that_means_two_things_gets_its_service_in_front() -> None:
    merged = merge(OWN, {"aggregator": SPACES}, ROUTES)
    schemas = merged["components"]["schemas"]
    assert schemas["Page"]["title"] == "the gateway's"
    assert schemas["aggregator_Page"]["title"] == "the aggregator's"
    answer = merged["paths"]["/spaces/{space}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/aggregator_Page"}


def test_a_name_that_means_one_thing_is_shared_and_what_it_leads_to_comes_along() -> None:
    schemas = merge(OWN, {"aggregator": SPACES}, ROUTES)["components"]["schemas"]
    assert set(schemas) == {"Page", "Error", "aggregator_Page", "Item"}
    assert schemas["Item"]["properties"]["error"] == {"$ref": "#/components/schemas/Error"}


def test_a_name_whose_parts_mean_something_else_gets_its_service_too() -> None:
    leads = {"title": "Whole", "properties": {"part": {"$ref": "#/components/schemas/Part"}}}
    own = _document({"/tenants": {"get": _operation("Whole")}}, Whole=leads, Part={"title": "one"})
    other = _document({"/spaces/{s}": {"get": _operation("Whole")}}, Whole=leads, Part={"title": "another"})
    schemas = merge(own, {"aggregator": other}, ROUTES)["components"]["schemas"]
    assert schemas["aggregator_Whole"]["properties"]["part"] == {"$ref": "#/components/schemas/aggregator_Part"}
    assert schemas["Whole"] == leads


def test_every_reference_leads_somewhere_and_operations_are_unique() -> None:
    test = _document({"/connectors/{id}/test": {"post": _operation("Item")}}, Item={"title": "Step"})
    merged = merge(OWN, {"aggregator": SPACES, "log_miner": test}, ROUTES)
    text = str(merged)
    for name in merged["components"]["schemas"]:
        text = text.replace(f"'#/components/schemas/{name}'", "")
    assert "#/components" not in text
    assert merged["components"]["schemas"]["log_miner_Item"] == {"title": "Step"}
    names = [operation["operationId"] for item in merged["paths"].values() for operation in item.values()]
    assert sorted(names) == ["aggregator_get_it", "get_it", "log_miner_get_it"]


def test_a_service_that_is_away_is_left_out_with_a_note() -> None:
    merged = merge(OWN, {"aggregator": SPACES, "log_miner": None}, ROUTES)
    assert "log_miner" in merged["info"]["description"]
    assert merged["x-unavailable-services"] == ["log_miner"]
    assert "/spaces/{space}" in merged["paths"]


def test_callers_authenticate_and_inputs_are_not_changed() -> None:
    before = str(OWN), str(SPACES)
    merged = merge(OWN, {"aggregator": SPACES}, ROUTES)
    assert merged["security"] == [{"bearer": []}]
    assert merged["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert (str(OWN), str(SPACES)) == before
