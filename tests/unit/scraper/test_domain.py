"""What a sync is, what clients see of it, and what becomes of records that are too large."""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest

from libs.common.events import BiQueryScraped, BiQueryStored, ColumnUse, ConnectorRef, TableRef
from services.scraper.api import outcome
from services.scraper.domain import LARGEST_RECORD, SyncJob, fitted, not_retired, warned
from services.scraper.schemas import SyncJobOut

_AT = datetime(2026, 11, 21, 9, tzinfo=UTC)
_ONE, _TWO, _THREE = UUID(int=1), UUID(int=2), UUID(int=3)


def job(**changes: Any) -> SyncJob:
    fields: dict[str, Any] = {
        "tenant": _ONE,
        "id": _TWO,
        "connector_id": _THREE,
        "connector_version": 1,
        "sync_seq": 7,
        "state": "running",
        "phase": "reading",
        "created_at": _AT,
    }
    return SyncJob(**(fields | changes))


def record(tables: int, columns: int, length: int = 60) -> BiQueryScraped:
    names = [("c" * length, "s" * length, f"{number:0{length}}") for number in range(tables)]
    return BiQueryScraped(
        tenant=_ONE,
        id=_TWO,
        connector=ConnectorRef(id=_THREE, type="superset", name="bi"),
        dialect="postgres",
        resource_type="dashboard_chart",
        resource_id="1:2",
        sql_text="SELECT ?",
        tables=tuple(TableRef(name=name, display=".".join(name)) for name in names),
        columns=tuple(ColumnUse(table=names[0], column=f"column {n}") for n in range(columns)),
    )


def stored(reason: Literal["empty", "rejected"] | None, rejected: int = 0) -> BiQueryStored:
    return BiQueryStored(
        tenant=_ONE,
        connector_id=_THREE,
        job_id=_TWO,
        sync_seq=7,
        state="completed",
        received=rejected,
        upserted=0,
        rejected=rejected,
        retired=0,
        not_retired=reason,
    )


def test_warnings_are_bounded_and_all_are_counted() -> None:
    warned_often = warned(warned(job(), ["x" * 10_000, "again"]), ["again", *(f"chart {n}" for n in range(200))])
    assert len(warned_often.warnings) == 50
    assert warned_often.warning_count == 203
    assert max(map(len, warned_often.warnings)) == 500


@pytest.mark.parametrize(("reason", "word"), [("empty", "kept"), ("rejected", "3 rows"), (None, None)])
def test_what_was_kept_becomes_a_warning(reason: Literal["empty", "rejected"] | None, word: str | None) -> None:
    said = not_retired(stored(reason, 3))
    assert (word in said[0]) if word else said == []


@pytest.mark.parametrize(("tables", "columns"), [(0, 0), (60, 40), (3_000, 0), (90, 40_000), (5_000, 40_000)])
def test_a_record_fits_into_a_message(tables: int, columns: int) -> None:
    given = record(max(tables, 1), columns)
    kept, warning = fitted(given)
    size = len(kept.model_dump_json().encode())
    assert size <= LARGEST_RECORD
    assert (warning is None) == (kept == given) == (len(given.model_dump_json()) <= LARGEST_RECORD)
    if warning:
        assert "dashboard chart 1:2" in warning
        assert kept.tables


@pytest.mark.parametrize(
    ("state", "phase", "status"),
    [
        ("pending", "waiting", 202),
        ("running", "storing", 202),
        ("completed", "done", 200),
        ("partial", "done", 200),
        ("failed", "done", 200),
        ("cancelled", "done", 200),
    ],
)
def test_a_sync_that_is_over_answers_200_also_when_it_failed(state: str, phase: str, status: int) -> None:
    answer = outcome(job(state=state, phase=phase, error_code="login_failed", error="why", next_job_seq=5))
    body = orjson.loads(answer.body)
    assert (answer.status_code, answer.headers["location"]) == (status, f"/sync-jobs/{_TWO}")
    assert (body["status"], body["phase"], body["rows_published"]) == (state, phase, 4)
    assert body["error"] == {"code": "login_failed", "message": "why"}


def test_a_job_shows_what_the_specification_promises() -> None:
    promised = (
        "id connector_id status started_at finished_at resources_scraped rows_published rows_upserted rows_rejected "
        "warnings error"
    )
    assert set(promised.split()) <= set(SyncJobOut.model_fields)


def test_what_is_being_read_is_told_only_while_it_is() -> None:
    shown = [SyncJobOut.of(job(phase=phase, activity="reading charts")).activity for phase in ("reading", "storing")]
    assert shown == ["reading charts", None]
