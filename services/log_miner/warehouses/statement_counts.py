"""How often statements ran between two snapshots of pg_stat_statements. Pure.

Counters say how often, not when: what ran before the first snapshot, or on another server, has an unknown age and
counts for nothing. Whatever is in doubt counts too little, never too much.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, Self

from services.log_miner.warehouses.interface import Position

# Snapshots are kept in parts, so that one of any size is worked off in batches.
PARTS = 16
_PREFIX = "pg_stat_statements/"
_HANDED_OVER = f"{_PREFIX}counted until"


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where counters were read. `server` changes with the server and with its database.

    `reset_at` and `evicted` are None before Postgres 14. `hidden`: rows that the role was not shown.
    """

    server: str
    taken_at: datetime
    reset_at: datetime | None
    evicted: int | None
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Statement:
    """One row: what one user ran. `since` is when the row was made, None before Postgres 17."""

    user_id: int
    query_id: int
    user: str | None
    text: str | None = field(repr=False)
    calls: int
    since: datetime | None

    @property
    def key(self) -> str:
        """Names the row across snapshots."""
        return f"{self.query_id}:{self.user_id}"

    @property
    def part(self) -> str:
        """The part of the cursor that keeps this row's counter."""
        return part(self.query_id % PARTS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of one database at one moment."""

    moment: Moment
    statements: tuple[Statement, ...]


Counter = tuple[int, datetime | None]


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier snapshot left of one part."""

    moment: Moment
    counters: Mapping[str, Counter]

    def position(self) -> Position:
        """As the cursor stores it."""
        return {
            "server": self.moment.server,
            "taken_at": self.moment.taken_at.isoformat(),
            "reset_at": _text(self.moment.reset_at),
            "evicted": self.moment.evicted,
            "hidden": self.moment.hidden,
            "counters": {key: [calls, _text(since)] for key, (calls, since) in self.counters.items()},
        }

    @classmethod
    def of(cls, position: Position) -> Self:
        """Inverse of `position`."""
        moment = Moment(
            position["server"],
            datetime.fromisoformat(position["taken_at"]),
            _time(position["reset_at"]),
            position["evicted"],
            position["hidden"],
        )
        return cls(moment, {key: (calls, _time(since)) for key, (calls, since) in position["counters"].items()})


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class Relation(Enum):
    """How a snapshot stands to the one before it."""

    FIRST = auto()
    ELSEWHERE = auto()  # another server, or another database under the old name
    RESET = auto()  # all counters began anew in between
    GOES_ON = auto()


def relation(before: Moment | None, now: Moment) -> Relation:
    """A reset that is older than the snapshot before it happened on another server: a stand-by, say."""
    if before is None:
        return Relation.FIRST
    if before.server != now.server:
        return Relation.ELSEWHERE
    if before.reset_at == now.reset_at:
        return Relation.GOES_ON
    return Relation.RESET if now.reset_at and now.reset_at > before.taken_at else Relation.ELSEWHERE


def executions(row: Statement, known: Known | None, now: Moment) -> int | None:
    """How often a row's statement ran since it was last looked at; None where its counter's age is unknown."""
    if known is None or known.moment.server != now.server:
        return None
    old = known.counters.get(row.key)
    if row.since is not None:
        if old and old[1] == row.since:
            return max(row.calls - old[0], 0)
        return row.calls if row.since > known.moment.taken_at else None
    return _undated(row.calls, old, known.moment, now)


def _undated(calls: int, old: Counter | None, before: Moment, now: Moment) -> int | None:
    """The same for rows that do not say since when they count (before Postgres 17)."""
    how = relation(before, now)
    if how is Relation.ELSEWHERE:
        return None
    if how is Relation.RESET:
        return calls
    if old is None:
        return None if before.hidden and not now.hidden else calls
    # A counter that fell was dropped, and its row made anew.
    return calls - old[0] if calls >= old[0] else calls


@dataclass(frozen=True, slots=True)
class Counted:
    """A statement that ran, how often."""

    statement: Statement
    executions: int


@dataclass(frozen=True, slots=True)
class Part:
    """What became of one part of the snapshot. `known` goes into the cursor with the executions counted."""

    name: str
    rows: int
    counted: tuple[Counted, ...]
    known: Known
    fell: bool = False
    unaged: int = 0


def part(number: int) -> str:
    """Name of a part of the cursor."""
    return f"{_PREFIX}{number:02}"


def parts_of(cursor: Mapping[str, Position]) -> dict[str, Known]:
    """The earlier snapshots in a cursor, which holds other things too."""
    names = (part(number) for number in range(PARTS))
    return {name: Known.of(cursor[name]) for name in names if name in cursor}


def of_the_log(cursor: Mapping[str, Position]) -> dict[str, Position]:
    """What in a cursor belongs to the log of the same server."""
    return {name: position for name, position in cursor.items() if not name.startswith(_PREFIX)}


def counted_until(cursor: Mapping[str, Position]) -> datetime | None:
    """The moment up to which executions were counted by counters: the log must not count them again."""
    handed_over = cursor.get(_HANDED_OVER)
    moments = [known.moment.taken_at for known in parts_of(cursor).values()]
    return max([*moments, *([datetime.fromisoformat(handed_over["at"])] if handed_over else [])], default=None)


def hand_over(cursor: Mapping[str, Position]) -> dict[str, Position | None]:
    """What the cursor becomes when the log is read from now on: without counters, which would count its lines again."""
    until, known = counted_until(cursor), parts_of(cursor)
    if until is None or not known:
        return {}
    return {_HANDED_OVER: {"at": until.isoformat()}} | dict.fromkeys(known)


def compare(snapshot: Snapshot, known: Mapping[str, Known]) -> list[Part]:
    """Count each part against what is known of it. Parts whose executions wait to be stored may be done one by one."""
    rows: dict[str, list[Statement]] = {part(number): [] for number in range(PARTS)}
    for statement in snapshot.statements:
        rows[statement.part].append(statement)
    return [_part(name, rows[name], known.get(name), snapshot.moment) for name in sorted(rows)]


def _part(name: str, rows: Iterable[Statement], known: Known | None, now: Moment) -> Part:
    rows = tuple(rows)
    found = [(row, executions(row, known, now)) for row in rows]
    old = known.counters if known else {}
    return Part(
        name,
        len(rows),
        tuple(Counted(row, times) for row, times in found if times),
        Known(now, {row.key: (row.calls, row.since) for row in rows}),
        any(row.calls < old.get(row.key, (0, None))[0] for row in rows),
        sum(times is None for _, times in found) if known else 0,
    )


def warnings(parts: Iterable[Part], known: Mapping[str, Known], now: Moment) -> tuple[str, ...]:
    """What the reader of the counts must know. `parts` is all that `compare` gave."""
    parts = tuple(parts)
    said = [_hidden(now)] if now.hidden else []
    if not known:
        return (*said, "pg_stat_statements was read for the first time: its counters are the baseline, nothing counts")
    before = min(each.moment.taken_at for each in known.values())
    relations = {relation(each.moment, now) for each in known.values()}
    said.append(
        f"counts are of the time from {_shown(before)} to {_shown(now.taken_at)} and dated at its end;"
        " nothing is claimed of shorter times within"
    )
    if Relation.ELSEWHERE in relations:
        said.append("the counters are those of another server or database than before; they are a new baseline")
    elif unaged := sum(each.unaged for each in parts):
        said.append(f"{unaged} statements were not visible before; their counters are a baseline")
    if Relation.RESET in relations:
        said.append(f"the counters were reset at {_shown(now.reset_at or now.taken_at)}; what ran just before is lost")
    elif any(each.fell for each in parts):
        said.append("some counters were reset or dropped; what ran just before is lost")
    if _evicted(known.values(), now):
        said.append("statements were dropped for want of room (raise pg_stat_statements.max): counts are lower bounds")
    return tuple(said)


def _evicted(known: Iterable[Known], now: Moment) -> bool:
    """Whether rows made room for others since; a reset starts this counter anew too."""
    return any(
        (now.evicted or 0) > (each.moment.evicted or 0 if each.moment.reset_at == now.reset_at else 0)
        for each in known
        if each.moment.server == now.server
    )


def _hidden(now: Moment) -> str:
    return f"{now.hidden} statements of other roles were not shown (<insufficient privilege>): grant pg_read_all_stats"


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
