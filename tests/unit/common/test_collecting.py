"""What collecting services share: jobs, their table's columns, the record that closes them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from libs.common.collecting.job import (
    MAX_WARNINGS,
    CollectingJob,
    closing_record,
    joined_warnings,
    read_since,
    record_key,
)
from libs.common.collecting.table import JobTable
from libs.common.events import ConnectorRef

_AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(CollectingJob):
    lines: int = 0


def job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "tenant": UUID(int=1),
        "id": UUID(int=2),
        "connector_id": UUID(int=3),
        "connector_version": 1,
        "sync_seq": 7,
        "state": "running",
        "phase": "reading",
        "created_at": _AT,
    }
    return Job(**(fields | changes))  # type: ignore[arg-type]


def test_the_columns_are_the_fields() -> None:
    columns = JobTable("job", Job).columns.split(", ")
    assert columns[0] == "tenant_id"
    assert {"lines", "sync_seq", "run", "warnings"} <= set(columns)
    assert "tenant" not in columns


def test_the_closing_record_counts_what_was_numbered() -> None:
    connector = ConnectorRef(id=UUID(int=3), type="superset", name="bi")
    closing = closing_record(job(next_job_seq=4, closing_complete=False), connector, "staging")
    assert (closing.count, closing.complete, closing.sync_seq, closing.environment) == (3, False, 7, "staging")
    assert closing_record(job(), connector, "production").complete is False


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_warnings_are_kept_once_in_order_and_bounded(known: list[str], more: list[str]) -> None:
    joined = joined_warnings(tuple(known), more)
    assert len(joined) == len(set(joined)) <= MAX_WARNINGS
    assert list(joined) == list(dict.fromkeys(known + more))[:MAX_WARNINGS]


def test_reading_begins_days_before_it_was_first_asked_for() -> None:
    assert _AT - read_since(_AT, 30) == timedelta(days=30)


def test_the_key_holds_tenant_and_connector() -> None:
    assert record_key(UUID(int=1), UUID(int=3)) == f"{UUID(int=1)}:{UUID(int=3)}"
