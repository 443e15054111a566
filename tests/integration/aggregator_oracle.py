"""Usage statistics the slow and obvious way: plain Python over all that arrived, sharing no code with the store."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Name = tuple[str, ...]
WINDOW = timedelta(days=30)


@dataclass(frozen=True)
class Said:
    """One record as a producer sends it; `executed_at` None makes it a reference."""

    connector: int
    resource: str
    sync_seq: int | None
    job_seq: int | None
    said_at: datetime
    text: str | None
    tables: frozenset[Name]
    columns: frozenset[tuple[Name, str]]
    user: str | None
    executed_at: datetime | None
    count: int

    @property
    def rank(self) -> tuple[int, int, datetime]:
        return (-1 if self.sync_seq is None else self.sync_seq, self.job_seq or 0, self.said_at)

    @property
    def chart(self) -> str:
        """`dashboard:chart` is the chart, anything else is itself."""
        return self.resource.rpartition(":")[2]

    @property
    def pattern(self) -> tuple[Any, ...]:
        return (self.connector, self.text, self.tables)


@dataclass
class Known:
    """What is known of one resource."""

    said: Said
    moment: datetime
    retired: bool = False


@dataclass
class Ledger:
    stored: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    count: int | None = None
    complete: bool = False
    closed: bool = False


@dataclass
class Figures:
    executions: int
    references: int
    users: int
    last: datetime | None
    top: list[str]
    score: float


class Oracle:
    def __init__(self) -> None:
        self.known: dict[tuple[int, str], Known] = {}
        self.columns: dict[tuple[Any, ...], set[tuple[Name, str]]] = defaultdict(set)
        self.ledgers: dict[tuple[int, int], Ledger] = defaultdict(Ledger)
        self.complete_sync: dict[int, int] = {}
        self.deleted: set[int] = set()
        self.uncounted: set[int] = set()
        self.claims: dict[int, list[tuple[Name, int | None]]] = {}

    def take(self, batch: list[Said], now: datetime) -> None:
        newest: dict[tuple[int, str], Said] = {}
        for said in batch:
            refused = said.executed_at is not None and said.executed_at > now + timedelta(minutes=5)
            self._count(said, refused)
            if refused:
                continue
            self.columns[said.pattern] |= said.columns
            key = (said.connector, said.resource)
            if key not in newest or newest[key].rank <= said.rank:
                newest[key] = said
        for key, said in newest.items():
            self._learn(key, said, now)
        for connector, sync_seq in {(s.connector, s.sync_seq) for s in batch if s.sync_seq is not None}:
            self._settle(connector, sync_seq, now)

    def _count(self, said: Said, refused: bool) -> None:
        if said.sync_seq is None or said.job_seq is None:
            return
        ledger = self.ledgers[said.connector, said.sync_seq]
        if not ledger.closed:
            (ledger.rejected if refused else ledger.stored).add(said.job_seq)

    def _learn(self, key: tuple[int, str], said: Said, now: datetime) -> None:
        old = self.known.get(key)
        if old is not None and old.said.rank > said.rank:
            return
        if said.executed_at is not None:
            self.known[key] = Known(said, min(said.executed_at, now))
            return
        seq = said.rank[0]
        retired = said.connector in self.deleted or 0 <= seq < self.complete_sync.get(said.connector, -1)
        fresh = old is None or old.said.executed_at is not None or old.retired
        again = old is not None and seq < 0 and old.said.said_at < said.said_at
        self.known[key] = Known(said, now if fresh or again or old is None else old.moment, retired)

    def close(self, connector: int, sync_seq: int, count: int, complete: bool, now: datetime) -> None:
        ledger = self.ledgers[connector, sync_seq]
        if not ledger.closed:
            if ledger.count is None or count >= ledger.count:
                ledger.count, ledger.complete = count, complete
            self._settle(connector, sync_seq, now)

    def _settle(self, connector: int, sync_seq: int, now: datetime) -> None:
        ledger = self.ledgers[connector, sync_seq]
        ledger.rejected -= ledger.stored
        here = ledger.stored | ledger.rejected
        if ledger.closed or ledger.count is None or not set(range(1, ledger.count + 1)) <= here:
            return
        ledger.closed = True
        references = self._references(connector)
        seen = any(known.said.rank[0] == sync_seq and not known.retired for known in references)
        if not ledger.complete or ledger.rejected or not seen:  # it may have lost its right to see any
            return
        self.complete_sync[connector] = max(sync_seq, self.complete_sync.get(connector, -1))
        for known in references:
            if 0 <= known.said.rank[0] < sync_seq:
                known.retired = True
            elif known.said.rank[0] == sync_seq and not known.retired:
                known.moment = now

    def _references(self, connector: int) -> list[Known]:
        return [k for k in self.known.values() if k.said.connector == connector and k.said.executed_at is None]

    def delete_connector(self, connector: int) -> None:
        self.deleted.add(connector)
        for known in self._references(connector):
            known.retired = True

    def _matches(self, product: int, said: Said) -> set[Name]:
        return {
            table
            for table in said.tables
            for claim, connector in self.claims[product]
            if connector in (None, said.connector) and table[-len(claim) :] == claim
        }

    def _executions(self, product: int) -> list[Known]:
        return [
            known
            for known in self.known.values()
            if known.said.executed_at is not None
            and known.said.connector not in self.uncounted
            and self._matches(product, known.said)
        ]

    def _charts(self, product: int, now: datetime) -> list[Known]:
        return [
            known
            for known in self.known.values()
            if known.said.executed_at is None and not known.retired and self._matches(product, known.said)
        ]

    def figures(self, product: int, now: datetime) -> Figures:
        everything = self._executions(product)
        inside = [known for known in everything if now - WINDOW <= known.moment <= now]
        charts = {
            (k.said.connector, k.said.chart) for k in self._charts(product, now) if now - WINDOW <= k.moment <= now
        }
        executions = sum(known.said.count for known in inside)
        users = len({known.said.user for known in inside} - {None})
        last = max((known.moment for known in everything if known.moment <= now), default=None)
        factor = 10 * 0.5 ** ((now - last) / timedelta(days=1) / 7) if last else 0
        raw = 0.5 * math.log2(1 + executions + len(charts)) + 0.3 * users + 0.2 * factor
        return Figures(executions, len(charts), users, last, self._top(product, inside), min(100.0, raw / 10 * 100))

    def _top(self, product: int, inside: list[Known]) -> list[str]:
        counts: Counter[str] = Counter()
        for known in inside:
            own = self._matches(product, known.said)
            labels = {f"{table[-1]}.{column}" for table, column in self.columns[known.said.pattern] if table in own}
            for label in labels:
                counts[label] += known.said.count
        return sorted(counts, key=lambda label: (-counts[label], label))[:10]

    def is_unused(self, product: int, days: int, now: datetime) -> bool:
        moments = [known.moment for known in (*self._executions(product), *self._charts(product, now))]
        return all(moment < now - timedelta(days=days) for moment in moments if moment <= now)
