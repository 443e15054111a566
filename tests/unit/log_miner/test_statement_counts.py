"""Executions between two snapshots of counters: by cases, and against a server that knows what really ran."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.log_miner.warehouses.statement_counts import (
    PARTS,
    Known,
    Moment,
    Relation,
    Snapshot,
    Statement,
    compare,
    counted_until,
    executions,
    hand_over,
    of_the_log,
    part,
    parts_of,
    relation,
    warnings,
)
from tests.support.examples import examples

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEFORE = Moment("s/1", T0, T0 - HOUR, 0)
NOW = replace(BEFORE, taken_at=T0 + HOUR)
OLD, NEW = T0 - HOUR, T0 + HOUR / 2


def row(calls: int, since: datetime | None = None) -> Statement:
    return Statement(10, 7, "ada", "SELECT a FROM t", calls, since)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, NOW, Relation.FIRST),
        (BEFORE, NOW, Relation.GOES_ON),
        (BEFORE, replace(NOW, reset_at=NEW), Relation.RESET),
        (BEFORE, replace(NOW, reset_at=OLD - HOUR), Relation.ELSEWHERE),
        (BEFORE, replace(NOW, server="s/2"), Relation.ELSEWHERE),
        (replace(BEFORE, reset_at=None), replace(NOW, reset_at=None), Relation.GOES_ON),  # Postgres 13
        (replace(BEFORE, reset_at=None), replace(NOW, reset_at=NEW), Relation.RESET),  # upgraded
    ],
)
def test_relation(before: Moment | None, now: Moment, expected: Relation) -> None:
    assert relation(before, now) is expected


@pytest.mark.parametrize(
    ("calls", "since", "old", "now", "expected"),
    [
        (9, None, (4, None), NOW, 5),
        (4, None, (4, None), NOW, 0),
        (3, None, (4, None), NOW, 3),  # dropped and made anew
        (3, None, None, NOW, 3),  # new since
        (9, None, (4, None), replace(NOW, reset_at=NEW), 9),
        (9, None, (4, None), replace(NOW, reset_at=OLD - HOUR), None),  # another server
        (9, None, (4, None), replace(NOW, server="s/2"), None),
        (9, OLD, (4, OLD), NOW, 5),
        (9, OLD, (4, OLD), replace(NOW, reset_at=NEW), 5),  # since when is the better witness
        (9, NEW, (4, OLD), NOW, 9),  # dropped and made anew, and has passed the old count
        (9, NEW, None, NOW, 9),
        (9, OLD, None, NOW, None),  # older than the snapshot that did not see it
        (9, OLD, (4, OLD + HOUR / 2), NOW, None),  # another server's row
    ],
)
def test_executions(
    calls: int, since: datetime | None, old: tuple[int, datetime | None] | None, now: Moment, expected: int | None
) -> None:
    known = Known(BEFORE, {"7:10": old} if old else {})
    assert executions(row(calls, since), known, now) == expected
    assert executions(row(calls, since), None, now) is None


@pytest.mark.parametrize(("hidden", "expected"), [(0, None), (2, 9)])
def test_what_became_visible_is_a_baseline(hidden: int, expected: int | None) -> None:
    """As long as other roles' rows stay hidden, a new row is one of the miner's own role."""
    known = Known(replace(BEFORE, hidden=5), {})
    assert executions(row(9), known, replace(NOW, hidden=hidden)) == expected


@dataclass
class Server:
    """Runs statements, and does to its counters what Postgres may do; `ran` is the truth since the last snapshot."""

    version: int
    now: datetime = T0
    reset_at: datetime = T0
    evicted: int = 0
    sees_all: bool = True
    rows: dict[tuple[int, int], tuple[int, datetime]] = field(default_factory=dict)
    ran: Counter[tuple[int, int]] = field(default_factory=Counter)
    lost: Counter[tuple[int, int]] = field(default_factory=Counter)

    def run(self, user: int, query: int) -> None:
        calls, since = self.rows.get((user, query), (0, self.now))
        self.rows[user, query] = calls + 1, since
        self.ran[user, query] += 1

    def drop(self, key: tuple[int, int]) -> None:
        if self.rows.pop(key, None):
            self.lost[key] = self.ran[key]

    def reset(self) -> None:
        for key in list(self.rows):
            self.drop(key)
        self.reset_at, self.evicted = self.now, 0

    def evict(self) -> None:
        if self.rows:
            self.drop(min(self.rows))
            self.evicted += 1

    def snapshot(self) -> Snapshot:
        shown = {key: row for key, row in self.rows.items() if self.sees_all or key[0] == 0}
        undated = self.version < 14
        moment = Moment(
            "s/1",
            self.now,
            None if undated else self.reset_at,
            None if undated else self.evicted,
            len(self.rows) - len(shown),
        )
        rows = [
            Statement(user, query, f"u{user}", "SELECT 1", calls, since if self.version >= 17 else None)
            for (user, query), (calls, since) in shown.items()
        ]
        return Snapshot(moment, tuple(rows))


KEY = st.tuples(st.integers(0, 2), st.integers(-20, 20))
STEP = st.one_of(
    st.tuples(st.just("run"), KEY),
    st.tuples(st.just("run"), KEY),
    st.tuples(st.just("run"), KEY),
    st.tuples(st.sampled_from(["snapshot", "snapshot", "reset", "evict", "drop", "hide", "show"]), KEY),
)


def counts(snapshot: Snapshot, known: dict[str, Known]) -> tuple[Counter[tuple[int, int]], dict[str, Known]]:
    """What compares gives, with the cursor through JSON as the store keeps it."""
    found: Counter[tuple[int, int]] = Counter()
    cursor = {}
    for each in compare(snapshot, known):
        cursor[each.name] = orjson.loads(orjson.dumps(each.known.position()))
        for counted in each.counted:
            found[counted.statement.user_id, counted.statement.query_id] += counted.executions
    return found, parts_of(cursor)


@pytest.mark.parametrize("version", [13, 14, 16, 17, 18])
@settings(max_examples=examples(150))
@given(steps=st.lists(STEP, max_size=60))
def test_never_more_than_ran_and_all_that_no_reset_lost(version: int, steps: list[tuple[str, tuple[int, int]]]) -> None:
    server = Server(version)
    known: dict[str, Known] = {}
    hidden = False
    for act, key in [*steps, ("snapshot", (0, 0))]:
        server.now += timedelta(seconds=1)
        if act == "run":
            server.run(*key)
        elif act == "drop":
            server.drop(key)
        elif act in ("reset", "evict"):
            getattr(server, act)()
        elif act in ("hide", "show"):
            server.sees_all = act == "show"
            hidden = hidden or act == "hide"
        else:
            first = not known
            found, known = counts(server.snapshot(), known)
            assert all(times <= server.ran[at] for at, times in found.items())
            if first:
                assert not found
            elif version >= 17 and not hidden:
                assert found == server.ran - server.lost
            elif not hidden and not server.lost:
                assert found == server.ran
            server.ran.clear()
            server.lost.clear()


def test_parts_may_be_stored_one_by_one() -> None:
    """A job that dies between two parts leaves the others with their old counters; a later snapshot goes on there."""
    server = Server(16)
    _, known = counts(server.snapshot(), {})
    keys = [(0, query) for query in range(40)]
    total: Counter[tuple[int, int]] = Counter()
    for round_ in range(1, 5):
        server.now += HOUR
        for key in keys:
            server.run(*key)
        for each in compare(server.snapshot(), known)[: PARTS * round_ // 4]:
            known[each.name] = each.known
            for counted in each.counted:
                total[0, counted.statement.query_id] += counted.executions
    assert total == Counter(dict.fromkeys(keys, 4))


def said(before: Moment, now: Moment, rows: int = 1, known_rows: int = 1) -> str:
    known = {part(7): Known(before, {"7:10": (4, None)} if known_rows else {})}
    snapshot = Snapshot(now, (row(3),) if rows else ())
    return "\n".join(warnings(compare(snapshot, known), known, now))


def test_warnings() -> None:
    assert "baseline, nothing counts" in "\n".join(warnings(compare(Snapshot(NOW, ()), {}), {}, NOW))
    plain = said(BEFORE, NOW, rows=0)
    assert plain == (
        "counts are of the time from 2026-03-01 12:00:00Z to 2026-03-01 13:00:00Z and dated at its end;"
        " nothing is claimed of shorter times within"
    )
    assert "lower bounds" in said(BEFORE, replace(NOW, evicted=3))
    assert "lower bounds" not in said(replace(BEFORE, evicted=3), replace(NOW, evicted=3))
    assert "lower bounds" in said(replace(BEFORE, evicted=3), replace(NOW, reset_at=NEW, evicted=1))
    assert "reset at 2026-03-01 12:30:00Z" in said(BEFORE, replace(NOW, reset_at=NEW))
    assert "some counters were reset or dropped" in said(BEFORE, NOW)
    assert "another server" in said(BEFORE, replace(NOW, server="s/2"))
    assert "2 statements of other roles" in said(BEFORE, replace(NOW, hidden=2))
    assert "1 statements were not visible before" in said(replace(BEFORE, hidden=2), NOW, known_rows=0)


def test_the_log_begins_where_counters_ended() -> None:
    log = {"postgresql.csv": {"offset": 7}}
    assert (hand_over(log), counted_until(log), of_the_log(log)) == ({}, None, log)
    cursor = log | {part(number): Known(BEFORE, {}).position() for number in range(PARTS)}
    moved = hand_over(cursor)
    after = {name: position for name, position in (cursor | moved).items() if position is not None}
    assert (of_the_log(after), parts_of(after), counted_until(after)) == (log, {}, T0)
    assert hand_over(after) == {}
