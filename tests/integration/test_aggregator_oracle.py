"""Whatever arrives, how often and in which order: the statistics are those of the naive computation."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.erasure import ErasedNames, Erasing
from libs.common.events import BiQueryScraped, ColumnUse, ConnectorChanged, TableRef, UserErased
from libs.common.sealed import KeyRing
from services.aggregator.domain import TOP_COLUMNS, WINDOW
from services.aggregator.erasing import Rewriting
from services.aggregator.service import ProductChange
from services.aggregator.store import counter_build, stats
from services.aggregator.store.catalogue import Claim
from tests.integration.aggregator_harness import NOON, Harness, Source, person, replicas
from tests.integration.aggregator_oracle import Name, Oracle, Said
from tests.support.platform import SEALING_KEY, Platform

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "50"))

TABLES: list[Name] = [
    ("shop", "public", "orders"),
    ("public", "orders"),
    ("orders",),
    ("sales", "orders"),
    ("public", "Items"),
    ("public", "items"),
]
CLAIMS: list[tuple[str, Name]] = [
    ("orders", ("orders",)),
    ("PUBLIC.Orders", ("public", "orders")),
    ("shop.public.orders", ("shop", "public", "orders")),
    ("items", ("items",)),
    ('public."Items"', ("public", "Items")),
    ("sales.orders", ("sales", "orders")),
    ("nothing", ("nothing",)),
]
# A record without tables: the aggregator finds them in the text.
BARE = "select o.total from public.orders as o where o.id = ?"
BARE_TABLES = frozenset({("public", "orders")})
BARE_COLUMNS = frozenset({(("public", "orders"), "total"), (("public", "orders"), "id")})
MICRO = timedelta(microseconds=1)
OFFSETS = [
    timedelta(0),
    MICRO,
    timedelta(minutes=5),
    timedelta(minutes=5) + MICRO,
    timedelta(days=2),
    -timedelta(hours=1),
    -timedelta(days=7),
    -timedelta(days=30),
    -timedelta(days=30) - MICRO,
    -timedelta(days=30) + MICRO,
    -timedelta(days=29),
    -timedelta(days=90),
]


@st.composite
def said(draw: st.DrawFn) -> Said:
    in_job = draw(st.booleans())
    reference = draw(st.integers(0, 2)) == 0
    text = draw(st.sampled_from([None, "select ?", "select * from t", BARE]))
    tables = BARE_TABLES if text == BARE else frozenset(draw(st.lists(st.sampled_from(TABLES), max_size=3)))
    uses = [(table, column) for table in sorted(tables) for column in ("id", "total")]
    chosen = draw(st.lists(st.sampled_from(uses), max_size=3)) if uses else []
    return Said(
        connector=draw(st.integers(0, 1)),
        # A resource may be said with an execution and without: it moves from one table to the other.
        resource=draw(st.sampled_from(["d0:a", "d0:b", "d1:a", "d1:b", "v", "w"])),
        sync_seq=draw(st.integers(1, 3)) if in_job else None,
        job_seq=draw(st.integers(1, 3)) if in_job else None,
        said_at=NOON + timedelta(seconds=draw(st.integers(0, 3))),
        text=text,
        tables=tables,
        columns=BARE_COLUMNS if text == BARE else frozenset(chosen),
        user=draw(st.sampled_from([None, "ann", "bob", "eve"])),
        executed_at=None if reference else NOON + draw(st.sampled_from(OFFSETS)),
        count=draw(st.sampled_from([1, 1, 2, 5, 2**53])),
    )


@dataclass(frozen=True)
class Step:
    """One thing that happens; which fields it uses depends on `what`."""

    what: str
    batch: tuple[Said, ...] = ()
    product: int = 0
    claims: tuple[tuple[int, int | None], ...] = ()
    connector: int = 0
    sync_seq: int = 1
    count: int = 0
    flag: bool = True
    hours: float = 0


batches = st.lists(said(), min_size=1, max_size=6).map(tuple)
claims = st.lists(
    st.tuples(st.integers(0, len(CLAIMS) - 1), st.sampled_from([None, None, 0, 1])), max_size=3, unique=True
).map(tuple)
steps = st.lists(
    st.one_of(
        st.builds(Step, st.just("take"), batch=batches),
        st.builds(Step, st.just("take"), batch=batches),
        st.builds(Step, st.just("resend"), count=st.integers(0, 20)),
        st.builds(Step, st.just("grow"), count=st.integers(0, 20), batch=batches),
        st.builds(Step, st.just("check")),
        st.builds(Step, st.just("check")),
        st.builds(Step, st.just("replay")),
        st.builds(Step, st.just("claim"), product=st.integers(0, 2), claims=claims),
        st.builds(
            Step,
            st.just("close"),
            connector=st.integers(0, 1),
            sync_seq=st.integers(1, 3),
            count=st.integers(0, 3),
            flag=st.booleans(),
        ),
        st.builds(Step, st.just("sync"), batch=batches, connector=st.integers(0, 1), sync_seq=st.integers(1, 3)),
        st.builds(Step, st.just("connector"), connector=st.integers(0, 1), flag=st.booleans()),
        st.builds(Step, st.just("delete"), connector=st.integers(0, 1)),
        st.builds(Step, st.just("wait"), hours=st.sampled_from([0.01, 1, 24 * 7, 24 * 31, -0.01, -2, -24 * 3])),
        st.builds(Step, st.just("slide"), hours=st.sampled_from([0.01, 5, 24 * 2, -1])),
        st.builds(Step, st.just("erase"), product=st.integers(0, 1)),
        st.builds(Step, st.just("meet"), batch=batches),
    ),
    min_size=6,
    max_size=20,
)


class Play:
    """The same steps on both sides, and the comparison."""

    def __init__(self, aggregator: Harness) -> None:
        self.real = aggregator
        self.naive = Oracle()
        self.tenant = uuid4()
        self.sources = [Source(self.tenant) for _ in range(2)]
        self.jobs: dict[tuple[int, int], UUID] = {}
        self.products: list[UUID] = []
        self.history: list[tuple[Said, ...]] = []
        self.versions = [1, 1]
        self.real.clock.now = NOON

    async def begin(self) -> None:
        await self.real.space(self.tenant)
        for number, names in enumerate(([0], [1, 4], [3, 5])):
            self.naive.claims[number] = [(CLAIMS[name][1], None) for name in names]
            self.products.append(await self.real.product(self.tenant, f"p{number}", *(CLAIMS[n][0] for n in names)))

    @property
    def now(self) -> datetime:
        return self.real.clock()

    async def do(self, step: Step) -> None:
        event(step.what)
        await getattr(self, f"_{step.what}")(step)
        await self.counters_are_true()

    async def counters_are_true(self) -> None:
        """Over their own window, whatever the statistics are: what counters tell is what the rows tell."""
        async with self.real.database.work() as connection:
            since = await counter_build.window(connection, self.tenant)
            assert since is not None
            now = since + WINDOW
            told, doubtful = await stats.counted(connection, self.tenant, self.products, now, TOP_COLUMNS)
            known = [each.product_id for each in told]
            assert told == await stats.figures(connection, self.tenant, known, since, now, TOP_COLUMNS)
        played["told"] += len(told)
        played["doubtful"] += len(doubtful)

    async def _take(self, step: Step) -> None:
        self.history.append(step.batch)
        self.naive.take(list(step.batch), self.now)
        await self._send(step.batch)

    async def _resend(self, step: Step) -> None:
        if self.history:
            await self._take(replace(step, batch=self.history[step.count % len(self.history)]))

    async def _grow(self, step: Step) -> None:
        """The same resources, said anew in a later sync: more executions, another user, other tables."""
        if not self.history:
            return
        old, new = self.history[step.count % len(self.history)], step.batch[0]
        batch = tuple(
            replace(
                new,
                connector=each.connector,
                resource=each.resource,
                executed_at=each.executed_at,
                sync_seq=3,
                job_seq=6,
                count=each.count + 1,
            )
            for each in old
        )
        await self._take(replace(step, batch=batch))

    async def _check(self, _step: Step) -> None:
        """The comparison alone: it drains the marks, so that those that follow have to be made anew."""
        await self.compare()

    async def _replay(self, step: Step) -> None:
        for batch in list(self.history):
            await self._take(replace(step, batch=batch))

    async def _claim(self, step: Step) -> None:
        self.naive.claims[step.product] = [(CLAIMS[name][1], connector) for name, connector in step.claims]
        made = tuple(
            Claim(CLAIMS[name][0], None if connector is None else self.sources[connector].connector)
            for name, connector in step.claims
        )
        change = ProductChange(tables=made)
        await self.real.catalogue.change_product(person(self.tenant), "shop", self.products[step.product], change)

    async def _close(self, step: Step) -> None:
        self.naive.close(step.connector, step.sync_seq, step.count, step.flag, self.now)
        source = self._source(step.connector, step.sync_seq)
        await self.real.take(source.closing(step.count, complete=step.flag))

    async def _sync(self, step: Step) -> None:
        """A whole sync of charts, closed as complete: it retires what it did not see."""
        charts = [
            replace(
                each,
                connector=step.connector,
                sync_seq=step.sync_seq,
                job_seq=number,
                executed_at=None,
            )
            for number, each in enumerate(step.batch, 1)
        ]
        await self._take(replace(step, batch=tuple(charts)))
        await self._close(replace(step, count=len(charts), flag=True))

    async def _connector(self, step: Step) -> None:
        if step.connector not in self.naive.deleted:
            change = self.naive.uncounted.discard if step.flag else self.naive.uncounted.add
            change(step.connector)
            await self._changed(step.connector, counts_executions=step.flag)

    async def _delete(self, step: Step) -> None:
        self.naive.delete_connector(step.connector)
        await self._changed(step.connector, deleted=True)

    async def _changed(self, connector: int, **values: Any) -> None:
        self.versions[connector] += 1
        changed = ConnectorChanged(
            tenant=self.tenant, id=self.sources[connector].connector, version=self.versions[connector], **values
        )
        await self.real.ingest.follow_connectors([changed])

    async def _wait(self, step: Step) -> None:
        """Time passes; the tick finds what has grown old. From here on marks alone must keep statistics true."""
        self.real.clock.advance(timedelta(hours=step.hours))
        await self.real.refresh.mark_stale(timedelta(0))
        await self.real.refresh.drain()

    async def _slide(self, step: Step) -> None:
        """Counters alone go on; no statistics are computed."""
        self.real.clock.advance(timedelta(hours=step.hours))
        await self.real.refresh.slide(self.tenant)
        await self.real.refresh.mark_stale(timedelta(0))

    async def _erase(self, step: Step) -> None:
        """Figures stay: the pseudonym counts as the person did."""
        keys = ErasedNames(KeyRing.of({"k1": SecretStr(SEALING_KEY)}))
        work = Erasing(self.real.database, self.real.clock, keys, Rewriting(self.real.database, page_rows=2))
        name = ("ann", "bob")[step.product]
        sealed = keys.sealed(self.tenant, name)
        await work.follow(UserErased(tenant=self.tenant, sealed_name=sealed, pseudonym=f"erased:0000000{step.product}"))
        await work.rewrite_pending()

    async def _meet(self, step: Step) -> None:
        """Two connectors' batches at once, amid a refresh."""
        both = [tuple(replace(each, connector=connector) for each in step.batch) for connector in (0, 1)]
        for batch in both:
            self.history.append(batch)
            self.naive.take(list(batch), self.now)
        await asyncio.gather(*map(self._send, both), self.real.refresh.drain())

    async def _send(self, batch: tuple[Said, ...]) -> None:
        await self.real.ingest.ingest([self._event(each) for each in batch], [each.said_at for each in batch])

    def _source(self, connector: int, sync_seq: int) -> Source:
        job = self.jobs.setdefault((connector, sync_seq), uuid4())
        return Source(self.tenant, self.sources[connector].connector, job, sync_seq)

    def _event(self, said: Said) -> BiQueryScraped:
        source = self._source(said.connector, said.sync_seq or 0)
        bare = said.text == BARE
        dashboard, on_dashboard, _ = said.resource.partition(":")
        kind = "dashboard_chart" if on_dashboard else "query_log"
        made = source.record(
            said.resource,
            said.job_seq,
            tables=(),
            resource_type=kind,
            dashboard_id=dashboard if on_dashboard else None,
            sql_text=said.text,
            executed_by=said.user,
            executed_at=said.executed_at,
            execution_count=min(said.count, 2**53),
        )
        return made.model_copy(
            update={
                "tables": () if bare else tuple(TableRef(name=t, display=".".join(t)) for t in sorted(said.tables)),
                "columns": () if bare else tuple(ColumnUse(table=t, column=c) for t, c in sorted(said.columns)),
            }
        )

    async def compare(self) -> None:
        """After the marks are drained, without an aggregation; then after one."""
        await self.real.refresh.drain()
        drained = await self.real.stored_stats(self.tenant)
        aggregated = await self.real.stats(self.tenant)
        for number, product in enumerate(self.products):
            expected = self.naive.figures(number, self.now)
            for stored in (drained[product], aggregated[product]):
                assert stored.execution_count_30d == min(expected.executions, 2**53)
                assert stored.reference_count == expected.references
                assert stored.query_count_30d == min(stored.execution_count_30d + stored.reference_count, 2**53)
                assert stored.unique_users_30d == expected.users
                assert stored.last_queried_at == expected.last
                assert stored.top_columns == expected.top
                assert stored.popularity_score == pytest.approx(expected.score)
        for days in (1, 30, 3650):
            unused = await self.real.usage.unused(self.tenant, "shop", days)
            expected_unused = {p for n, p in enumerate(self.products) if self.naive.is_unused(n, days, self.now)}
            assert {each.id for each in unused} == expected_unused


@pytest.fixture(scope="module")
async def aggregator(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        one.refresh._pause = timedelta(0)
        yield one


played = {"examples": 0, "steps": 0, "records": 0, "told": 0, "doubtful": 0}


@given(steps)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
async def test_statistics_equal_the_naive_computation(aggregator: Harness, what_happens: list[Step]) -> None:
    play = Play(aggregator)
    await play.begin()
    for step in what_happens:
        await play.do(step)
        if step.what in ("claim", "wait"):
            await play.compare()
    await play.compare()
    played["examples"] += 1
    played["steps"] += len(what_happens)
    played["records"] += sum(map(len, play.history))


async def test_enough_was_played() -> None:
    print(
        "oracle: {examples} examples, {steps} steps, {records} records compared; counters told {told} times, "
        "{doubtful} times the rows had to".format(**played)
    )
    assert played["told"] > played["doubtful"]
    assert played["examples"] >= EXAMPLES / 2
