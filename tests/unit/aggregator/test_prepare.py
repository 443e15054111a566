"""From records to rows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, SyncCompleted, TableRef
from libs.common.ids import bi_query_id
from libs.common.sql import Dialect, TableName, pattern_id
from services.aggregator.prepare import prepare
from services.aggregator.rows import Batch, LedgerKey, Pattern, StagedRow

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
TENANT, CONNECTOR, JOB = UUID(int=1), UUID(int=2), UUID(int=3)


def record(**values: Any) -> BiQueryScraped:
    defaults: dict[str, Any] = {
        "tenant": TENANT,
        "id": uuid4(),
        "connector": ConnectorRef(id=CONNECTOR, type="postgres", name="warehouse"),
        "dialect": "postgres",
        "resource_type": "query_log",
        "resource_id": "r1",
        "executed_at": NOW,
    }
    return BiQueryScraped(**defaults | values)


def batch(*events: BiQueryScraped | SyncCompleted, said_at: datetime = NOW) -> Batch:
    return prepare(events, [said_at] * len(events), NOW)


def only_record(found: Batch) -> StagedRow:
    (row,) = found.rows.values()
    return row


def only_pattern(found: Batch) -> Pattern:
    (pattern,) = found.patterns.values()
    return pattern


def test_the_id_is_derived_whatever_the_event_says() -> None:
    assert only_record(batch(record())).id == bi_query_id(TENANT, CONNECTOR, "query_log", "r1")


def test_text_is_anonymised_again() -> None:
    sql = "SELECT * FROM orders WHERE card = '4111 1111' AND n IN (1, 2) -- by ann"
    tables = (TableRef(name=("public", "orders"), display="public.orders"),)
    pattern = only_pattern(batch(record(sql_text=sql, tables=tables)))
    assert pattern.row.sql_text == "SELECT * FROM orders WHERE card = ? AND n IN (?)"
    once = only_pattern(batch(record(sql_text=pattern.row.sql_text, tables=tables)))
    assert once.row == pattern.row


def test_tables_and_columns_that_were_sent_are_taken() -> None:
    tables = (TableRef(name=("shop", "public", "Order Items"), display="whatever"),)
    columns = (ColumnUse(table=("shop", "public", "Order Items"), column="qty"), ColumnUse(table=("x",), column="y"))
    pattern = only_pattern(batch(record(sql_text="select qty", tables=tables, columns=columns)))
    assert [row.display for row in pattern.tables] == ['shop.public."Order Items"']
    assert [row.column_name for row in pattern.columns] == ["qty"]
    assert len(pattern.keys) == 3
    parts = TableName(("shop", "public", "Order Items"))
    assert pattern.row.id == pattern_id(TENANT, CONNECTOR, Dialect.POSTGRES, "select qty", [parts])


def test_tables_are_found_where_none_were_sent() -> None:
    pattern = only_pattern(batch(record(sql_text="SELECT o.total FROM Public.Orders o WHERE o.id = 7")))
    assert [row.display for row in pattern.tables] == ["public.orders"]
    assert {row.column_name for row in pattern.columns} == {"total", "id"}


def test_columns_that_different_records_found_for_one_pattern_add_up() -> None:
    tables = (TableRef(name=("orders",), display="orders"),)
    uses = [(ColumnUse(table=("orders",), column=name),) for name in ("id", "total")]
    records = [
        record(resource_id=str(n), sql_text="select ?", tables=tables, columns=use) for n, use in enumerate(uses)
    ]
    assert {row.column_name for row in only_pattern(batch(*records)).columns} == {"id", "total"}


def test_a_reference_without_a_statement_has_tables_all_the_same() -> None:
    tables = (TableRef(name=("orders",), display="orders"),)
    found = batch(record(resource_type="chart", executed_at=None, tables=tables))
    assert only_record(found).executed_at is None
    assert only_pattern(found).row.sql_text is None
    assert only_pattern(found).row.text_key is None


def test_an_unknown_dialect_is_read_as_ansi() -> None:
    assert only_pattern(batch(record(dialect="quantum", sql_text="select 1 from a.b"))).row.dialect == "ansi"


def test_what_postgres_cannot_store_is_replaced() -> None:
    found = only_record(batch(record(title="a\0b", executed_by="\0", resource_id="\0r")))
    assert "\0" not in f"{found.title}{found.executed_by}{found.resource_id}"


def test_names_longer_than_any_database_has_are_left_out() -> None:
    tables = (TableRef(name=("x" * 513,), display="x"), TableRef(name=("", "orders"), display="y"))
    columns = (ColumnUse(table=("x" * 513,), column="c"),)
    pattern = only_pattern(batch(record(sql_text="select ?", tables=tables, columns=columns)))
    assert (pattern.tables, pattern.keys, pattern.columns) == ([], [], frozenset())


def test_the_newest_record_of_a_resource_wins() -> None:
    job = {"job_id": JOB, "sync_seq": 1}
    found = batch(
        record(**job, job_seq=5, execution_count=5),
        record(**job, job_seq=7, execution_count=7),
        record(**job, job_seq=6, execution_count=6),
        record(execution_count=99),
    )
    assert only_record(found).execution_count == 7
    numbers = found.numbers[LedgerKey(TENANT, CONNECTOR, JOB, 1)]
    assert (numbers.stored, numbers.rejected) == ({5, 6, 7}, set())


def test_of_equal_ones_the_last_wins() -> None:
    assert only_record(batch(record(executed_by="ann"), record(executed_by="bob"))).executed_by == "bob"


def test_the_future_is_refused_and_counted() -> None:
    job = {"job_id": JOB, "sync_seq": 1, "resource_id": "f"}
    found = batch(
        record(**job, job_seq=1, executed_at=NOW + timedelta(minutes=6)), record(executed_at=NOW + timedelta(minutes=4))
    )
    assert only_record(found).executed_at == NOW
    assert found.refused == 1
    assert found.numbers[LedgerKey(TENANT, CONNECTOR, JOB, 1)].rejected == {1}


def test_closing_records_touch_their_ledger_and_connector() -> None:
    connector = ConnectorRef(id=CONNECTOR, type="postgres", name="warehouse")
    closing = SyncCompleted(tenant=TENANT, connector=connector, job_id=JOB, sync_seq=4, count=9, complete=True)
    found = batch(closing)
    assert found.ledgers() == [LedgerKey(TENANT, CONNECTOR, JOB, 4)]
    assert found.connectors() == {(TENANT, CONNECTOR)}
    assert (found.closings[0].count, found.closings[0].complete) == (9, True)


@given(st.permutations(range(6)))
def test_the_order_of_a_batch_does_not_matter_where_ranks_differ(order: list[int]) -> None:
    events = [
        record(job_id=JOB, sync_seq=number // 3, job_seq=number % 3 + 1, execution_count=number + 1)
        for number in range(6)
    ]
    found = batch(*(events[at] for at in order))
    assert only_record(found).execution_count == 6
    assert {key.sync_seq: numbers.stored for key, numbers in found.numbers.items()} == {0: {1, 2, 3}, 1: {1, 2, 3}}
