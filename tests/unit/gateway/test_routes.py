"""The route table: what it finds, what it refuses, where it leads."""

import pytest

from libs.common.connectors import BI_TYPES, WAREHOUSE_TYPES
from libs.common.errors import BadRequest, Unprocessable
from services.gateway.routes import ROUTES, Match, Needs, NotRouted, Route, RouteTable, service_of

ID = "0190c0de-0000-7000-8000-000000000001"
TABLE = RouteTable()


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("POST", f"/connectors/{ID}/query-log-mining", "POST /connectors/{connector_id}/query-log-mining"),
        ("POST", f"/connectors/{ID}/test", "POST /connectors/{connector_id}/test"),
        ("GET", f"/connectors/{ID}/schedule", "GET /connectors/{connector_id}/schedule"),
        ("GET", f"/mining-jobs/{ID}", "GET /mining-jobs/{job_id}"),
        ("GET", "/spaces", "GET /spaces"),
        ("PATCH", "/spaces/shop", "PATCH /spaces/{slug}"),
        ("GET", "/spaces/usage", "GET /spaces/{slug}"),
        ("GET", "/spaces/shop/usage", "GET /spaces/{slug}/usage"),
        ("GET", "/spaces/shop/usage/unused", "GET /spaces/{slug}/usage/unused"),
        ("GET", f"/spaces/shop/products/{ID}/usage", "GET /spaces/{slug}/products/{product_id}/usage"),
        ("POST", "/api/apps/", "POST /api/apps/"),
        ("POST", "/api/apps", "POST /api/apps/"),
        ("GET", "/api/apps/shop/secrets/types", "GET /api/apps/{app_slug}/secrets/types/"),
        ("GET", "/api/apps/shop/secrets/db/", "GET /api/apps/{app_slug}/secrets/{key}/"),
        (
            "POST",
            "/api/apps/shop/analytics/queries/sales/execute",
            "POST /api/apps/{app_slug}/analytics/queries/{slug}/execute/",
        ),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, template: str) -> None:
    match = TABLE.match(method, path)
    assert match is not None
    assert match.route.template == template


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/connectors",
        f"/connectors/{ID}",
        "/spaces/",
        "/spaces//usage",
        "/spaces/shop/usage/",
        "/Spaces",
        "/x",
        "/api/apps//",
        "/api/apps/shop/secrets/db//",
        "/api/apps/shop/analytics/",
    ],
)
def test_other_paths_are_not_passed_on(path: str) -> None:
    assert TABLE.match("GET", path) is None


@pytest.mark.parametrize("path", ["/spaces/..", "/spaces/./usage", "/spaces/x/products/../usage", "/spaces/../metrics"])
def test_nobody_climbs(path: str) -> None:
    with pytest.raises(NotRouted) as refused:
        TABLE.match("GET", path)
    assert refused.value.status == 404


def test_a_wrong_method_names_the_right_ones() -> None:
    with pytest.raises(NotRouted) as refused:
        TABLE.match("PUT", "/spaces")
    assert (refused.value.status, refused.value.headers["Allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("value", ["x", "1", ID[:-1], ID + "0", ID.replace("-", ""), "{" + ID[1:], f"urn:uuid:{ID}"])
def test_a_malformed_id_is_422_and_named(value: str) -> None:
    match = TABLE.match("GET", f"/spaces/shop/products/{value}/usage")
    assert match is not None
    with pytest.raises(Unprocessable, match="product_id"):
        match.check()


def test_every_parameter_named_id_is_checked() -> None:
    for route in ROUTES:
        names = [part[1:-1] for part in route.pattern.split("/") if part.startswith("{")]
        match = Match(route, tuple((name, ID) for name in names))
        match.check()
        assert all(name in ("slug", "app_slug", "key") or name.endswith("_id") for name in names)


def test_no_two_routes_claim_one_request() -> None:
    seen = {
        (route.method, tuple("{}" if p.startswith("{") else p for p in route.pattern.split("/"))) for route in ROUTES
    }
    assert len(seen) == len(ROUTES)


MINING = Route("POST", "/connectors/{connector_id}/mine", "log_miner", Needs.WAREHOUSE)
SYNC = Route("POST", "/connectors/{connector_id}/sync", "scraper", Needs.BI)
TEST = next(route for route in ROUTES if route.pattern.endswith("/test"))


@pytest.mark.parametrize("kind", sorted(WAREHOUSE_TYPES))
def test_warehouses_are_mined_and_not_synced(kind: str) -> None:
    assert service_of(MINING, kind, WAREHOUSE_TYPES, BI_TYPES) == "log_miner"
    assert service_of(TEST, kind, WAREHOUSE_TYPES, BI_TYPES) == "log_miner"
    with pytest.raises(BadRequest, match="Connector is not a BI type; supported: looker, metabase"):
        service_of(SYNC, kind, WAREHOUSE_TYPES, BI_TYPES)


@pytest.mark.parametrize("kind", sorted(BI_TYPES))
def test_bi_tools_are_synced_and_not_mined(kind: str) -> None:
    assert service_of(SYNC, kind, WAREHOUSE_TYPES, BI_TYPES) == "scraper"
    assert service_of(TEST, kind, WAREHOUSE_TYPES, BI_TYPES) == "scraper"
    with pytest.raises(BadRequest, match="not a warehouse type; supported: bigquery, postgres, snowflake"):
        service_of(MINING, kind, WAREHOUSE_TYPES, BI_TYPES)
