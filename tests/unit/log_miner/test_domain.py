"""What becomes of an execution."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from libs.common.collecting.job import State
from libs.common.errors import TidemarkError
from libs.common.events import ConnectorRef
from libs.common.ids import bi_query_id
from libs.common.sql import DefaultNames, Dialect
from services.log_miner.api import outcome
from services.log_miner.domain import MiningJob, Recorder, Source
from services.log_miner.warehouses import Execution

_AT = datetime(2026, 11, 21, 9, tzinfo=UTC)
_SOURCE = Source(
    ConnectorRef(id=uuid4(), type="postgres", name="shop"),
    "staging",
    Dialect.POSTGRES,
    DefaultNames("shop", ("sales", "public")),
)


def job(state: State = "running", **changes: object) -> MiningJob:
    fields: dict[str, object] = {
        "tenant": UUID(int=1),
        "id": UUID(int=2),
        "connector_id": _SOURCE.connector.id,
        "connector_version": 1,
        "sync_seq": 7,
        "state": state,
        "phase": "reading",
        "created_at": _AT,
    }
    return MiningJob(**(fields | changes))  # type: ignore[arg-type]


def test_records_carry_what_happened_and_no_literals() -> None:
    sql = "/* user: eve */ SELECT o.total FROM orders o WHERE o.name = 'top secret' AND o.id = 4711"
    executions = [Execution("s:1", sql, "service", _AT), Execution("s:2", "SELECT 1", "service", _AT)]
    first, second = Recorder(job(), _SOURCE, 5).records(executions)
    assert (first.job_seq, second.job_seq, first.sync_seq) == (5, 6, 7)
    assert first.id == bi_query_id(UUID(int=1), _SOURCE.connector.id, "query_log", "s:1")
    assert first.sql_text == "SELECT o.total FROM orders o WHERE o.name = ? AND o.id = ?"
    assert (first.executed_by, second.executed_by) == ("eve", "service")
    assert [table.name for table in first.tables] == [("shop", "sales", "orders")]
    assert {column.column for column in first.columns} == {"total", "name", "id"}
    assert (first.resource_type, first.execution_count, first.title) == ("query_log", 1, None)
    assert first.environment == "staging"
    assert "secret" not in first.model_dump_json()
    assert "4711" not in first.model_dump_json()


@pytest.mark.parametrize(
    ("state", "status"), [("completed", 200), ("partial", 200), ("running", 202), ("pending", 202)]
)
def test_answers_of_a_waiting_request(state: State, status: int) -> None:
    answer = outcome(job(state, rows_upserted=3))
    assert (answer.status_code, answer.headers["Location"]) == (status, f"/mining-jobs/{UUID(int=2)}")
    if status == 200:
        assert answer.body == b'{"rows_upserted":3}'


@pytest.mark.parametrize(("state", "status", "code"), [("failed", 502, "mining_failed"), ("cancelled", 409, None)])
def test_answers_of_a_request_whose_job_came_to_nothing(state: State, status: int, code: str | None) -> None:
    with pytest.raises(TidemarkError) as raised:
        outcome(job(state, error_code="wrong_password", error="The password of miner is wrong."))
    assert raised.value.status == status
    assert raised.value.extra["job"] == f"/mining-jobs/{UUID(int=2)}"
    if code:
        assert raised.value.code == code
        assert raised.value.extra["cause"] == "wrong_password"


@pytest.mark.parametrize(
    ("sql", "is_usage"),
    [
        ("SELECT oid FROM pg_type WHERE typname = 'x'", False),
        ("SELECT * FROM information_schema.columns", False),
        ("SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace", False),
        ("SELECT o.id FROM orders o JOIN pg_catalog.pg_class c ON c.oid = o.id", True),
        ("SELECT 1", True),
    ],
)
def test_reading_only_the_catalog_is_no_usage(sql: str, is_usage: bool) -> None:
    executions = [Execution("a:1", sql, "ada", _AT), Execution("a:2", "SELECT id FROM orders", "ada", _AT)]
    records = Recorder(job(), _SOURCE, 5).records(executions)
    assert [record.resource_id for record in records] == (["a:1", "a:2"] if is_usage else ["a:2"])
    assert [record.job_seq for record in records] == list(range(5, 5 + len(records)))
