"""Ledgers: a job ends when every record arrived or was refused, each counted once, whatever came how often and when."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.events import BiQueryScraped, ConnectorChanged, SyncCompleted
from services.aggregator.rows import LedgerKey
from tests.integration.aggregator_harness import NOON, Harness, Source, replicas
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def pair(platform: Platform) -> AsyncIterator[list[Harness]]:
    async with replicas(platform, 2) as both:
        yield both


@pytest.fixture
async def aggregator(pair: list[Harness]) -> Harness:
    await pair[0].outcomes()
    pair[0].clock.now = NOON
    return pair[0]


def _key(source: Source) -> LedgerKey:
    return LedgerKey(source.tenant, source.connector, source.job, source.sync_seq)


def _figures(outcome: dict[str, Any]) -> tuple[str, int, int, int, int]:
    return tuple(outcome[name] for name in ("state", "received", "upserted", "rejected", "retired"))


async def _rows(aggregator: Harness, tenant: UUID) -> int:
    count = await aggregator.admin.fetchval("SELECT count(*) FROM aggregator.query_log WHERE tenant_id = $1", tenant)
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_closing_record_may_come_at_any_place(aggregator: Harness, order: tuple[int, ...]) -> None:
    source = Source()
    parts: list[list[BiQueryScraped | SyncCompleted]] = [
        [source.record("a", 1), source.record("b", 2)],
        [source.record("c", 3)],
        [source.closing(3)],
    ]
    for turn, at in enumerate(order):
        await aggregator.take(*parts[at])
        assert bool(await _closed(aggregator, source)) is (turn == 2)
    (outcome,) = await aggregator.outcomes()
    assert _figures(outcome) == ("completed", 3, 3, 0, 0)
    assert (outcome["job_id"], outcome["sync_seq"]) == (str(source.job), 1)


async def _closed(aggregator: Harness, source: Source) -> bool:
    state = await aggregator.admin.fetchval(
        "SELECT state FROM aggregator.sync_ledger WHERE tenant_id = $1", source.tenant
    )
    return state in ("completed", "partial")


async def test_redelivery_and_resending_count_once(aggregator: Harness) -> None:
    source = Source()
    records = [source.record(f"r{number}", number) for number in range(1, 101)]
    for _ in range(3):
        await aggregator.take(*records[:60])
        await aggregator.take(*records[30:])
        await aggregator.take(*records[:10], *records[:10])
    await aggregator.take(source.closing(100))
    await aggregator.take(source.closing(100), *records)
    outcomes = await aggregator.outcomes()
    assert {_figures(outcome) for outcome in outcomes} == {("completed", 100, 100, 0, 0)}
    assert len(outcomes) == 2  # the job asked again and was answered again
    assert await _rows(aggregator, source.tenant) == 100
    print(f"redelivery: 100 records delivered {3 * 150 + 100} times: upserted {outcomes[0]['upserted']}, rows 100")


async def test_a_dead_letter_is_not_waited_for(aggregator: Harness) -> None:
    source = Source()
    await aggregator.ingest.reject(_key(source), 2)  # before anything else of the job is known
    await aggregator.take(source.record("a", 1), source.record("c", 3), source.closing(4))
    assert await aggregator.outcomes() == []
    await aggregator.ingest.reject(_key(source), 4)
    await aggregator.ingest.reject(_key(source), 4)
    (outcome,) = await aggregator.outcomes()
    assert _figures(outcome) == ("completed", 4, 2, 2, 0)
    print(
        f"dead letters: {outcome['received']} received = {outcome['upserted']} stored + {outcome['rejected']} rejected"
    )


async def test_a_replayed_dead_letter_is_no_longer_rejected(aggregator: Harness) -> None:
    source = Source()
    await aggregator.ingest.reject(_key(source), 1)
    await aggregator.take(source.record("a", 1))
    await aggregator.ingest.reject(_key(source), 1)
    await aggregator.take(source.closing(1))
    assert [_figures(outcome) for outcome in await aggregator.outcomes()] == [("completed", 1, 1, 0, 0)]


async def test_a_record_from_the_future_is_refused_and_counted(aggregator: Harness) -> None:
    source = Source()
    refused = aggregator.metrics.refused._value.get()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(
        source.record("soon", 1, executed_at=NOON + timedelta(minutes=5)),
        source.record("later", 2, executed_at=NOON + timedelta(minutes=5, microseconds=1)),
        source.closing(2),
    )
    assert [_figures(outcome) for outcome in await aggregator.outcomes()] == [("completed", 2, 1, 1, 0)]
    stats = (await aggregator.stats(source.tenant))[product]
    assert (stats.query_count_30d, stats.last_queried_at) == (1, NOON)
    assert aggregator.metrics.refused._value.get() == refused + 1


async def test_a_job_that_lost_records_ends_as_partial_and_stays_so(aggregator: Harness) -> None:
    source = Source(sync_seq=2)
    earlier = Source(source.tenant, source.connector, sync_seq=1)
    await aggregator.take(earlier.chart("old", 1), earlier.closing(1))
    await aggregator.outcomes()
    await aggregator.take(source.record("a", 1), source.closing(3))
    aggregator.clock.advance(timedelta(minutes=14))
    await aggregator.take(source.closing(3))  # asking again does not move the deadline
    assert await aggregator.ingest.close_overdue() == 0
    aggregator.clock.advance(timedelta(minutes=1))
    assert await aggregator.ingest.close_overdue() == 1
    assert await aggregator.ingest.close_overdue() == 0
    (outcome,) = await aggregator.outcomes()
    assert _figures(outcome) == ("partial", 1, 1, 0, 0)
    await aggregator.take(source.record("b", 2), source.record("c", 3))  # late: stored, without reopening
    assert await aggregator.outcomes() == []
    assert await _rows(aggregator, source.tenant) == 3
    assert await _active_charts(aggregator, source.tenant) == {"old"}
    await aggregator.take(source.closing(3))
    assert [_figures(outcome) for outcome in await aggregator.outcomes()] == [("partial", 1, 1, 0, 0)]
    print("lost records: partial with 1 of 3, 2 late ones stored, ledger unchanged, 0 retired")


async def _active_charts(aggregator: Harness, tenant: UUID) -> set[str]:
    rows = await aggregator.admin.fetch(
        "SELECT resource_id FROM aggregator.bi_reference WHERE tenant_id = $1 AND retired_at IS NULL", tenant
    )
    return {row["resource_id"] for row in rows}


async def _sync(aggregator: Harness, source: Source, *charts: str, complete: bool = True) -> dict[str, Any]:
    records = [source.chart(chart, number) for number, chart in enumerate(charts, 1)]
    await aggregator.take(*records, source.closing(len(charts), complete=complete))
    (outcome,) = await aggregator.outcomes()
    return outcome


async def test_a_complete_sync_retires_what_it_no_longer_saw(aggregator: Harness) -> None:
    tenant, connector = uuid4(), uuid4()
    first, second, third, fourth, fifth = (Source(tenant, connector, sync_seq=number) for number in range(1, 6))
    await aggregator.take(Source(tenant, connector).chart("unsynced"))
    assert (await _sync(aggregator, first, "a", "b", "c"))["retired"] == 0
    assert (await _sync(aggregator, second, "a", "b", complete=False))["retired"] == 0
    assert (await _sync(aggregator, third, "b", "d"))["retired"] == 2
    assert await _active_charts(aggregator, tenant) == {"b", "d", "unsynced"}
    assert (await _sync(aggregator, fourth))["retired"] == 0  # complete but empty: warned about instead
    assert await _active_charts(aggregator, tenant) == {"b", "d", "unsynced"}
    await aggregator.ingest.reject(_key(fifth), 2)
    await aggregator.take(fifth.chart("b", 1), fifth.closing(2))  # what was rejected may have been "d"
    assert await _active_charts(aggregator, tenant) == {"b", "d", "unsynced"}
    assert [outcome["retired"] for outcome in await aggregator.outcomes()] == [0]


async def test_a_retired_chart_no_longer_counts_after_the_next_refresh(aggregator: Harness) -> None:
    tenant, connector = uuid4(), uuid4()
    first, second = (Source(tenant, connector, sync_seq=number) for number in (1, 2))
    await aggregator.space(tenant)
    product = await aggregator.product(tenant, "Orders", "orders")
    await _sync(aggregator, first, "a", "b")
    assert (await aggregator.stats(tenant))[product].reference_count == 2
    await aggregator.take(second.chart("c", 1, tables=["public.elsewhere"]), second.closing(1))
    aggregator.clock.advance(timedelta(seconds=1))
    await aggregator.refresh.drain()
    assert (await aggregator.stored_stats(tenant))[product].reference_count == 0


async def test_a_sync_without_references_retires_nothing_although_it_brought_executions(aggregator: Harness) -> None:
    tenant, connector = uuid4(), uuid4()
    first, second = (Source(tenant, connector, sync_seq=number) for number in (1, 2))
    await _sync(aggregator, first, "a", "b")
    await aggregator.take(second.record("run", 1), second.closing(1))
    (outcome,) = await aggregator.outcomes()
    assert (outcome["retired"], outcome["not_retired"]) == (0, "empty")
    assert await _active_charts(aggregator, tenant) == {"a", "b"}


async def test_an_old_record_replayed_does_not_bring_a_chart_back(aggregator: Harness) -> None:
    tenant, connector = uuid4(), uuid4()
    first, second, third = (Source(tenant, connector, sync_seq=number) for number in range(1, 4))
    await _sync(aggregator, first, "a", "b")
    await _sync(aggregator, second, "b")
    await aggregator.take(first.chart("a", 1), first.chart("new", 3))
    assert await _active_charts(aggregator, tenant) == {"b"}
    await _sync(aggregator, third, "a", "b")
    assert await _active_charts(aggregator, tenant) == {"a", "b"}


async def test_an_older_sync_that_closes_late_retires_nothing_newer(aggregator: Harness) -> None:
    tenant, connector = uuid4(), uuid4()
    first, second = (Source(tenant, connector, sync_seq=number) for number in (1, 2))
    await aggregator.take(first.chart("a", 1))
    assert (await _sync(aggregator, second, "a", "b"))["retired"] == 0
    await aggregator.take(first.closing(1))
    assert [outcome["retired"] for outcome in await aggregator.outcomes()] == [0]
    assert await _active_charts(aggregator, tenant) == {"a", "b"}


async def test_a_deleted_connector_loses_its_references_and_keeps_its_history(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(source.record("a", 1), source.chart("c", 2), source.closing(2))
    assert (await aggregator.stats(source.tenant))[product].query_count_30d == 2
    gone = ConnectorChanged(tenant=source.tenant, id=source.connector, version=2, deleted=True)
    await aggregator.ingest.follow_connectors([gone, gone])
    await aggregator.take(source.chart("late", 3))
    stats = (await aggregator.stats(source.tenant))[product]
    assert (stats.execution_count_30d, stats.reference_count) == (1, 0)


async def test_an_older_version_of_a_connector_changes_nothing(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(source.record("a", 1), source.chart("c", 2))
    off = ConnectorChanged(tenant=source.tenant, id=source.connector, version=2, counts_executions=False)
    on = off.model_copy(update={"version": 1, "counts_executions": True})
    await aggregator.ingest.follow_connectors([off])
    await aggregator.ingest.follow_connectors([on])
    stats = (await aggregator.stats(source.tenant))[product]
    assert (stats.execution_count_30d, stats.unique_users_30d, stats.last_queried_at) == (0, 0, None)
    assert (stats.reference_count, stats.query_count_30d) == (1, 1)


async def test_a_job_that_goes_on_after_its_closing_record_is_counted_whole(aggregator: Harness) -> None:
    source = Source()
    await aggregator.take(source.closing(5), source.record("a", 1), source.record("b", 2), source.closing(2))
    assert await aggregator.outcomes() == []
    await aggregator.take(*(source.record(f"r{number}", number) for number in range(3, 6)))
    assert [_figures(outcome) for outcome in await aggregator.outcomes()] == [("completed", 5, 5, 0, 0)]
