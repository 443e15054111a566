"""Patterns are remembered by all that they are made of, and are the same as if they were not."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, SyncCompleted, TableRef
from services.aggregator.patterns import Patterns
from services.aggregator.rows import Pattern, StagedColumn
from services.aggregator.store.ingest import StoredPatterns

TENANT, CONNECTOR = UUID(int=1), ConnectorRef(id=UUID(int=2), type="postgres", name="warehouse")
ORDERS = TableRef(name=("public", "orders"), display="public.orders")
ID = ColumnUse(table=("public", "orders"), column="id")


def record(**values: Any) -> BiQueryScraped:
    defaults: dict[str, Any] = {
        "tenant": TENANT,
        "id": uuid4(),
        "connector": CONNECTOR,
        "dialect": "postgres",
        "resource_type": "query_log",
        "resource_id": uuid4().hex,
        "sql_text": "SELECT id FROM public.orders WHERE id = 7",
        "tables": (ORDERS,),
    }
    return BiQueryScraped(**defaults | values)


def pattern(event: BiQueryScraped, patterns: Patterns) -> Pattern:
    (found,) = patterns.find([event])
    assert found is not None
    return found


def test_the_same_words_are_worked_on_once() -> None:
    patterns = Patterns()
    first = pattern(record(), patterns)
    assert patterns.known([record(executed_by="ann", title="x")]) == ([first], [])
    assert pattern(record(), patterns) is first


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": UUID(int=8)},
        {"connector": ConnectorRef(id=UUID(int=9), type="postgres", name="warehouse")},
        {"dialect": "mysql"},
        {"sql_text": "SELECT total FROM public.orders"},
        {"sql_text": None},
        {"sql_truncated": True},
        {"tables": ()},
        {"tables": (TableRef(name=("public", "items"), display="public.items"),)},
        {"columns": (ID,)},
    ],
)
def test_other_words_are_another_pattern(other: dict[str, Any]) -> None:
    patterns = Patterns()
    first = pattern(record(), patterns)
    assert patterns.known([record(**other)]) == ([None], [0])
    assert pattern(record(**other), patterns) == pattern(record(**other), Patterns()) != first


def test_the_places_of_unknown_words_are_told() -> None:
    patterns = Patterns()
    closing = SyncCompleted(tenant=TENANT, connector=CONNECTOR, job_id=uuid4(), sync_seq=1, count=1, complete=True)
    first = pattern(record(), patterns)
    assert patterns.known([record(), closing]) == ([first, None], [])
    assert patterns.known([record(sql_text="select ?"), record(), closing, record(sql_text="x")]) == (
        [None, first, None, None],
        [0, 3],
    )
    assert patterns.find([closing, record()]) == [None, first]


def test_it_remembers_so_many_and_no_long_ones() -> None:
    patterns = Patterns(limit=3)
    for number in range(4):
        pattern(record(sql_text=f"select {'a' * (number + 1)}"), patterns)
    assert patterns.known([record(sql_text="select a")])[1] == [0]
    assert patterns.known([record(sql_text="select aaaa")])[1] == []
    long = record(sql_text="select " + "a" * 5000)
    pattern(long, patterns)
    assert patterns.known([long])[1] == [0]


_texts = st.sampled_from([None, "select 1", "select 2", "select a from orders", "select b from Orders -- 5"])
_tables = st.sampled_from([(), (ORDERS,), (ORDERS, TableRef(name=("x",), display="x"))])


@given(st.lists(st.tuples(_texts, _tables, st.sampled_from([(), (ID,)]), st.booleans()), max_size=20))
def test_what_is_remembered_is_what_would_be_found(said: list[tuple[Any, ...]]) -> None:
    patterns = Patterns(limit=5)
    for text, tables, columns, truncated in said:
        event = record(sql_text=text, tables=tables, columns=columns, sql_truncated=truncated)
        assert pattern(event, patterns) == pattern(event, Patterns())


def _stored(event: BiQueryScraped) -> tuple[tuple[UUID, UUID], Pattern]:
    found = pattern(event, Patterns())
    return (found.row.tenant_id, found.row.id), found


def test_a_pattern_is_lacking_until_its_version_was_committed() -> None:
    memory, (key, found) = StoredPatterns(), _stored(record(columns=(ID,)))
    batch = {key: found}
    assert memory.lacking(batch, {}) == batch
    assert memory.lacking(batch, {key: 7}) == batch
    memory.note(batch, {key: 7})
    assert memory.lacking(batch, {key: 7}) == {}
    assert memory.lacking(batch, {key: 8}) == batch
    assert memory.lacking(batch, {}) == batch


def test_columns_that_were_never_stored_are_lacking() -> None:
    memory, (key, found) = StoredPatterns(), _stored(record(columns=(ID,)))
    memory.note({key: found}, {key: 7})
    more = found.with_columns(frozenset({StagedColumn(key[0], key[1], uuid4(), "total")}))
    assert memory.lacking({key: more}, {key: 7}) == {key: more}
    memory.note({key: more}, {key: 7})
    memory.note({key: found}, {key: 7})
    assert memory.lacking({key: more}, {key: 7}) == {}
    memory.note({key: found}, {key: 8})
    assert memory.lacking({key: more}, {key: 8}) == {key: more}


def test_what_is_known_to_be_stored_is_bounded() -> None:
    memory = StoredPatterns(limit=2)
    stored = dict(_stored(record(sql_text=f"select {'b' * number}")) for number in range(1, 4))
    for key, found in stored.items():
        memory.note({key: found}, {key: 1})
    assert len(memory.lacking(stored, dict.fromkeys(stored, 1))) == 2
