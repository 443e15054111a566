"""Records packed for storing are the same to the byte when they are unpacked."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import MAX_COUNT, BiQueryScraped, ColumnUse, ConnectorRef, TableRef
from services.log_miner.packing import pack, unpack, written

_CONNECTOR = ConnectorRef(id=UUID(int=3), type="postgres", name='shop "é𝄞" \\ \x00')
text = st.text(st.sampled_from('ab"\\\n\x00\x7f\u2028é𝄞/') | st.characters(codec="utf-8"), max_size=20)
name_parts = st.lists(text, min_size=1, max_size=3).map(tuple)
table = st.builds(TableRef, name=name_parts, display=text)
column = st.builds(ColumnUse, table=name_parts, column=text)
pattern: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "sql_text": st.none() | text,
        "sql_truncated": st.booleans(),
        "tables": st.lists(table, max_size=3).map(tuple),
        "columns": st.lists(column, max_size=3).map(tuple),
    }
)
zone = st.just(UTC) | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moment = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zone)  # noqa: DTZ001 (given a zone)
row: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "id": st.uuids(),
        "resource_id": st.text(min_size=1, max_size=20),
        "executed_by": st.none() | text,
        "executed_at": st.none() | moment,
        "execution_count": st.integers(1, MAX_COUNT),
    }
)


@st.composite
def batches(draw: st.DrawFn) -> list[BiQueryScraped]:
    """Records of one job, several of a pattern."""
    patterns = draw(st.lists(pattern, min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(row, st.sampled_from(patterns)), max_size=8))
    return [
        BiQueryScraped(
            tenant=UUID(int=1),
            connector=_CONNECTOR,
            environment="staging",
            dialect="postgres",
            job_id=UUID(int=2),
            sync_seq=7,
            job_seq=number,
            resource_type="query_log",
            **own,
            **shared,
        )
        for number, (own, shared) in enumerate(rows, 5)
    ]


@given(batches())
def test_records_come_back_to_the_byte(records: list[BiQueryScraped]) -> None:
    again = unpack(pack(records))
    assert [record.to_json() for record in again] == [record.to_json() for record in records]


@given(batches(), text)
def test_a_name_stands_as_it_is_looked_for(records: list[BiQueryScraped], name: str) -> None:
    found = written(name) in pack([record.model_copy(update={"executed_by": name}) for record in records])
    assert found or not records


def test_a_pattern_stands_once() -> None:
    tables = (TableRef(name=("shop", "public", "orders"), display="shop.public.orders"),)
    one = BiQueryScraped(
        tenant=UUID(int=1),
        id=UUID(int=4),
        connector=_CONNECTOR,
        dialect="postgres",
        job_id=UUID(int=2),
        resource_type="query_log",
        resource_id="a:1",
        sql_text="SELECT total FROM orders",
        tables=tables,
    )
    many = [one.model_copy(update={"job_seq": number}) for number in range(1, 1001)]
    assert pack(many).count("FROM orders") == 1
    assert len(pack(many)) < 100 * 1000
