from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from libs.common.event_docs import MODELS, schema
from libs.common.events import BiQueryScraped
from libs.common.schema_changes import breaking_changes
from libs.common.scraped_shapes import TableRef


def of(**fields: Any) -> dict[str, Any]:
    model: type[BaseModel] = create_model("M", **fields)
    return model.model_json_schema()


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (of(a=(int, 1)), of(), ["a: removed"]),
        (of(a=(int, 1)), of(a=(str, "")), ["a: no longer integer"]),
        (of(a=(int | None, 1)), of(a=(int, 1)), ["a: no longer null"]),
        (of(), of(a=(int, ...)), ["a: newly required"]),
        (of(a=(int, 1)), of(a=(int, ...)), ["a: newly required"]),
        (of(a=(Literal["x", "y"], "x")), of(a=(Literal["x"], "x")), ["a: values no longer allowed: y"]),
        (of(a=(str, "x")), of(a=(Literal["x", "z"], "x")), ["a: values no longer allowed: any other"]),
        (of(a=(int, 1)), of(a=(Annotated[int, Field(ge=1)], 1)), ["a: minimum raised to 1"]),
        (
            of(a=(Annotated[str, Field(max_length=9)], "")),
            of(a=(Annotated[str, Field(max_length=5)], "")),
            ["a: maxLength lowered to 5"],
        ),
        (
            of(a=(list[TableRef], [])),
            of(a=(list[int], [])),
            ["a[]: no longer object", "a[].display: removed", "a[].name: removed"],
        ),
        (
            of(a=(TableRef | None, None)),
            of(a=(int | None, None)),
            ["a: no longer object", "a.display: removed", "a.name: removed"],
        ),
    ],
)
def test_what_breaks(old: dict[str, Any], new: dict[str, Any], changes: list[str]) -> None:
    assert sorted(breaking_changes(old, new)) == sorted(changes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (of(), of(a=(int, 1))),
        (of(a=(int, ...)), of(a=(int, 1))),
        (of(a=(int, 1)), of(a=(int | None, None))),
        (of(a=(Literal["x"], "x")), of(a=(Literal["x", "y"], "x"))),
        (of(a=(Annotated[int, Field(ge=1)], 1)), of(a=(int, 1))),
    ],
)
def test_what_does_not(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert breaking_changes(old, new) == []


def test_every_event_equals_itself() -> None:
    for models in MODELS.values():
        for model in models:
            assert breaking_changes(schema(model), schema(model)) == []


def test_changes_inside_references_are_seen() -> None:
    old = schema(BiQueryScraped)
    new = schema(BiQueryScraped)
    del new["$defs"]["TableRef"]["properties"]["display"]
    new["$defs"]["ConnectorRef"]["properties"]["name"] = {"type": "integer"}
    assert breaking_changes(old, new) == ["connector.name: no longer string", "tables[].display: removed"]
