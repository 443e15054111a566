"""The tables of docs/query-templates.md do what they say."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine
from services.query_executor.template import Template, Values, bind, written
from services.query_executor.template.filters import FILTERS
from services.query_executor.template.values import Value

PAGE = (Path(__file__).parents[3] / "docs" / "query-templates.md").read_text()
VALUES: dict[str, Value] = {
    "text": "o'b", "word": "word", "n": 3, "day": "2024-01-31", "ids": (1, 2), "names": ("a,b", 'c"d'), "nothing": None,
    "empty": (), "column": "amount", "direction": "DESC",
}  # fmt: skip
CODE = re.compile(r"(`+)(.*?)\1(?!`)")


def rows(section: str) -> Iterator[list[list[str]]]:
    """The cells of a section's table, each as the code in it."""
    body = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    for line in [line for line in body.splitlines() if line.startswith("|")][2:]:
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        yield [[match[1] for match in CODE.findall(cell.replace("\\|", "|"))] or [cell.strip()] for cell in cells]


SHAPES = [(engine[0], text[0], sent[0], binds) for engine, text, sent, binds in rows("Shapes")]
REFUSED = [(engine[0], text[0]) for engine, text, _ in rows("Refused, and what to write instead")]
SEARCHES = [(text[0], body[0]) for text, body in rows("Searches (Elasticsearch, OpenSearch)")]


@pytest.mark.parametrize(("engine", "text", "sent", "binds"), SHAPES)
def test_a_shape_is_sent_as_told(engine: str, text: str, sent: str, binds: list[str]) -> None:
    bound = bind(Template.compile(f"SELECT {text}", Engine(engine)).render(Values(VALUES)))

    assert written(bound, lambda number, _: f"${number + 1}").split() == f"SELECT {sent}".split()
    assert [str(value.value) for value in bound.binds] == [told for told in binds if told]


@pytest.mark.parametrize(("engine", "text"), REFUSED)
def test_what_is_told_to_be_refused_is(engine: str, text: str) -> None:
    with pytest.raises(QueryValidationError):
        bind(Template.compile(f"SELECT {text}", Engine(engine)).render(Values(VALUES)))


@pytest.mark.parametrize(("text", "body"), SEARCHES)
def test_a_search_is_sent_as_told(text: str, body: str) -> None:
    assert bind(Template.compile(text, Engine.ELASTICSEARCH).render(Values(VALUES))).body == json.loads(body)


def test_all_filters_are_told() -> None:
    told = PAGE.split("\nFilters: ")[1].split(".\n")[0]

    assert re.findall(r"`(\w+)`", told) == sorted(FILTERS)
    assert (len(SHAPES), len(REFUSED), len(SEARCHES)) == (23, 17, 6)
