"""Query templates against a real Postgres: each shape of placeholder gives what text substitution gives for a harmless
value, no value of any kind changes the statement, and every value arrives as it was given."""

from collections.abc import AsyncIterator

import asyncpg
import hypothesis.strategies as st
import jinja2
import pytest
from hypothesis import HealthCheck, given, settings

from services.query_executor.drivers.postgres_binding import Binding
from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove
from services.query_executor.statement import Engine
from services.query_executor.template import Template, Values, bind
from services.query_executor.template.values import Value
from tests.support.query_shapes import ARRIVES, ATTACKS, COUNTS, EMPTY_FOR_STRANGERS, GIVEN, OWN, SHAPES
from tests.support.servers import Servers

TABLES = """
CREATE TYPE pg_temp.mood AS ENUM ('calm', 'loud');
CREATE TEMP TABLE orders AS
SELECT id, 'name ' || id AS name, (ARRAY['active', 'closed', 'it''s'])[1 + id % 3] AS status, id * 1.5 AS amount,
       timestamptz '2024-01-01 00:00Z' + id * interval '1 day' AS created_at, date '2024-01-01' + id AS day,
       ('00000000-0000-0000-0000-' || lpad(id::text, 12, '0'))::uuid AS uid, id % 2 = 0 AS flag,
       jsonb_build_object('k', 'v' || id, 'n', id) AS doc, ARRAY['t' || id, 'common'] AS tags,
       (ARRAY['calm', 'loud'])[1 + id % 2]::pg_temp.mood AS mood, ARRAY[id, id + 1] AS nums
FROM generate_series(1, 40) AS id;
CREATE TEMP TABLE orders_2024 AS SELECT * FROM orders WHERE id < 5;
"""

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
VALUE = st.one_of(
    TEXT, st.sampled_from(ATTACKS), st.builds(lambda a, b, c: a + b + c, TEXT, st.sampled_from(ATTACKS), TEXT)
)


@pytest.fixture
async def connection(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """A session with its own tables."""
    connected = await asyncpg.connect(servers.postgres)
    await connected.execute(TABLES)
    yield connected
    await connected.close()


async def run(connection: asyncpg.Connection, text: str, values: dict[str, Value]) -> list[tuple[object, ...]]:
    """As the service does it: rendered, proved, bound, run."""
    draft = Template.compile(text, Engine.POSTGRES).render(Values(values))
    prove(draft, Policy())
    bound = bind(draft)
    prepared = await Binding().prepared(connection, bound)
    rows = await (await connection.prepare(prepared.text)).fetch(*prepared.arguments(bound))
    return [tuple(row.values()) for row in rows]


async def substituted(connection: asyncpg.Connection, text: str, values: dict[str, Value]) -> list[tuple[object, ...]]:
    """What an author means who thinks of text."""
    statement = jinja2.Template(text).render(values)
    return [tuple(row.values()) for row in await connection.fetch(statement)]


async def test_each_shape_gives_what_substitution_gives(connection: asyncpg.Connection) -> None:
    failed = list[str]()
    for text in SHAPES:
        expected = await substituted(connection, text, GIVEN)
        try:
            assert await run(connection, text, GIVEN) == expected, "other rows"
        except (AssertionError, QueryValidationError, asyncpg.PostgresError) as error:
            failed.append(f"{text}: {type(error).__name__} {error}")
        if not expected:
            failed.append(f"{text}: no rows to compare")

    print(f"QUERY_SHAPES compared={len(SHAPES)} own={len(OWN)} failed={len(failed)}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(("text", "meant"), OWN, ids=[text for text, _ in OWN])
async def test_own_shapes_give_what_is_meant(connection: asyncpg.Connection, text: str, meant: str) -> None:
    expected = [tuple(row.values()) for row in await connection.fetch(meant)]

    assert await run(connection, text, {**GIVEN, "nothing": None, "empty": ()}) == expected


async def test_attacks_find_nothing_and_break_nothing(connection: asyncpg.Connection) -> None:
    for text in EMPTY_FOR_STRANGERS:
        for value in ATTACKS:
            assert await run(connection, text, {"v": value, "l": (value,)}) == [], f"{text} with {value}"

    assert await connection.fetchval("SELECT count(*) FROM orders") == 40
    print(f"QUERY_ATTACKS tried={len(EMPTY_FOR_STRANGERS) * len(ATTACKS)} rows=0")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUE)
async def test_every_text_arrives_as_it_is(connection: asyncpg.Connection, value: str) -> None:
    values: dict[str, Value] = {"v": value, "l": ("first", value, "last")}
    for text in ARRIVES:
        assert await run(connection, text, values) == [(value,)], text
    for text, count in COUNTS:
        assert await run(connection, text, values) == [(count,)], text
