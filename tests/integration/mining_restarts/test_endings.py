"""How jobs end: given up, cancelled, closed again and again until the outcome comes, forgotten."""

import asyncio
import random
from collections.abc import Sequence
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from libs.common.broker import PublishFailed
from libs.common.collecting.sending import Traced
from libs.common.events import ConnectorChanged
from libs.common.jobs import MAX_ATTEMPTS, RetryLater
from services.log_miner.app import LogMiner
from services.log_miner.store import PLACES
from tests.integration.mining_restarts.scenes import (
    STATEMENTS,
    Crash,
    Scene,
    Send,
    assert_complete,
    closed,
    closed_by_tick,
    crashing,
    run_until_over,
    scene,
    stored,
    work,
)
from tests.support.mining import (
    Ledger,
    Warehouse,
    caller,
)
from tests.support.platform import Platform
from tests.support.processes import eventually


async def test_a_job_without_progress_is_given_up_and_its_ledger_closed(loaded: Scene, ledger: Ledger) -> None:
    async def refuse(_records: Sequence[Traced], _send: Send) -> None:
        raise PublishFailed("The broker did not acknowledge in time.")

    runs = 0
    while not (await loaded.state()).is_final:
        runs += 1
        assert runs < 20
        try:
            await loaded.with_sender(refuse).run(loaded.ref)
        except RetryLater:
            continue
    failed = await loaded.state()
    assert (failed.state, failed.error_code) == ("failed", "given_up")
    assert runs == MAX_ATTEMPTS + 2  # the first run made progress
    await eventually(lambda: closed_by_tick(loaded, ledger))
    (closing,) = {(c.count, c.complete) for c in ledger.closings if c.job_id == loaded.job}
    assert closing == (len(ledger.numbers(loaded.job)), False)
    print(f"GIVEN_UP runs={runs} sent_with_closing={closing[0]}")
    again = await loaded.another_job()
    await again.miner.mining.run(again.ref)
    await assert_complete(again, ledger, STATEMENTS - closing[0])


async def test_a_cancelled_job_stops_at_the_next_batch(loaded: Scene, ledger: Ledger) -> None:
    async def cancel(records: Sequence[Traced], send: Send) -> None:
        await send(records)
        await loaded.miner.miner.jobs.cancel(caller(loaded.tenant, loaded.connector), loaded.job)

    await loaded.with_sender(cancel).run(loaded.ref)
    state = await loaded.state()
    await eventually(lambda: closed(loaded, ledger))
    closing = next(closing for closing in ledger.closings if closing.job_id == loaded.job)
    assert (state.state, closing.complete, closing.count) == ("cancelled", False, state.rows_sent)
    assert 0 < state.rows_sent < STATEMENTS
    rest = await loaded.another_job()
    await rest.miner.mining.run(rest.ref)
    await assert_complete(rest, ledger, STATEMENTS - state.rows_sent)


async def test_the_closing_record_is_repeated_until_the_outcome_comes(loaded: Scene, ledger: Ledger) -> None:
    service, database = loaded.miner.miner, loaded.miner.database
    ledger.answering = False
    try:
        await loaded.miner.mining.run(loaded.ref)

        async def three() -> bool:
            await service.jobs.send_closings()
            return sum(closing.job_id == loaded.job for closing in ledger.closings) >= 3

        await eventually(three)
    finally:
        ledger.answering = True
    assert (await loaded.state()).state == "running"
    outcome = stored(loaded, await loaded.state(), "partial", 2)
    strange = outcome.model_copy(update={"job_id": uuid4()})
    async with database.work() as connection:
        for event in (strange, outcome, outcome):
            await service.close_job(connection, event)
        wishes = await connection.fetch(
            "SELECT value FROM outbox WHERE key = $1", f"{loaded.tenant}:{loaded.connector}"
        )
    state = await loaded.state()
    assert (state.state, state.rows_upserted, state.rows_rejected) == ("partial", STATEMENTS - 2, 2)
    assert len(wishes) == 2  # one for this job, one for the reading before it
    await ledger.caught_up()
    before = len(ledger.closings)
    await asyncio.sleep(0.3)  # longer than the pause between two closing records
    await service.jobs.send_closings()
    await ledger.caught_up()
    assert not [c for c in ledger.closings[before:] if c.job_id == loaded.job]


async def test_a_deleted_connector_is_forgotten(loaded: Scene) -> None:
    service, database = loaded.miner.miner, loaded.miner.database
    change = ConnectorChanged(tenant=loaded.tenant, id=loaded.connector, version=2, deleted=True)
    with pytest.raises(Crash):
        await loaded.with_sender(crashing("before")).run(loaded.ref)
    async with database.work() as connection:
        assert await PLACES.cursor(connection, loaded.tenant, loaded.connector)
        await service.forget_connector(connection, change)
        assert not await PLACES.cursor(connection, loaded.tenant, loaded.connector)
    await loaded.miner.mining.run(loaded.ref)
    assert (await loaded.state()).state == "cancelled"


async def test_the_trace_of_the_request_goes_through_to_the_records(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger
) -> None:
    before = await scene(platform, miner, warehouse)
    await work(warehouse, await warehouse.login("ada"), 5)
    here = SpanContext(random.getrandbits(128), random.getrandbits(64), is_remote=True, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(here)):
        place = await before.another_job()
    with pytest.raises(Crash):
        await place.with_sender(crashing("before")).run(place.ref)
    await run_until_over(place, place.miner.mining)
    await assert_complete(place, ledger, 5)
    traces = {
        headers["traceparent"].split("-")[1] for headers in ledger.headers if headers["ce_jobid"] == str(place.job)
    }
    assert traces == {format(here.trace_id, "032x")}
