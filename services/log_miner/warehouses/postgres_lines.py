"""Which lines of a Postgres csvlog are executions, and of what. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.common.sql import Dialect, anonymise
from services.log_miner.warehouses.csv_records import LogLine
from services.log_miner.warehouses.interface import Execution
from services.log_miner.warehouses.log_time import LogClock, UnknownZone

APPLICATION = "tidemark"
# Behind a statement's first word: since Postgres 18 what stands before it is not kept by pg_stat_statements.
OWN_TAG = "/* tidemark "

# `execute fetch from` is a cursor's next page of an execution that was counted already; `parse` and `bind`
# of the extended protocol are no executions.
_RAN = re.compile(r"duration: (\d+\.\d+) ms  (?:statement|execute (?!fetch from )[^:]*): (.+)", re.DOTALL)
_BEGAN = re.compile(r"(?:statement|execute (?!fetch from )[^:]*): (.+)", re.DOTALL)
_STATEMENT = re.compile(r"(?:\A|;)[\s(]*([a-z])", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_PREPARE = re.compile(r"\s*PREPARE\s+(?:\"[^\"]+\"|\w+)\s*(?:\(.*?\))?\s+AS\s+", re.DOTALL | re.IGNORECASE)

# As the log's command_tag has them. Everything else (SET, SHOW, BEGIN, VACUUM, GRANT, FETCH, …) is no usage.
_USAGE_TAGS = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "EXECUTE", "DECLARE CURSOR"}
    | {"SELECT INTO", "CREATE TABLE AS", "CREATE VIEW", "CREATE MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW"}
)
_USAGE_WORDS = frozenset({"select", "insert", "update", "delete", "merge", "copy", "with", "table", "values"})
# A line that is written before its statement runs has no tag yet; these tags come with the words of the statement.
_MAKES_DATA = re.compile(
    r"create\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+|unlogged\s+|recursive\s+)*"
    r"(?:view\b|materialized\s+view\b|table\b[^;]*?\bas[\s(]+(?:select|with|table|values|execute)\b)|"
    r"refresh\s+materialized\b|declare\s|execute\s",
    re.IGNORECASE,
)


def is_usage(command_tag: str, statement: str) -> bool:
    """Whether a statement reads or writes data, by its command tag, else by its words."""
    if command_tag in _USAGE_TAGS:
        return True
    # A literal or a comment may hold any words.
    statement, _ = anonymise(statement, Dialect.POSTGRES)
    # Several statements in one message carry the tag of the last one.
    return any(_is_usage(statement, found.start(1)) for found in _STATEMENT.finditer(statement))


def _is_usage(statement: str, at: int) -> bool:
    word = _WORD.match(statement, at)
    return bool(word and word[0].lower() in _USAGE_WORDS) or bool(_MAKES_DATA.match(statement, at))


def is_ours(line: LogLine, statement: str) -> bool:
    """Whether the statement is the miner's or another service's of this system."""
    return line.application == APPLICATION or is_tagged(statement)


def is_tagged(statement: str) -> bool:
    """Whether the statement says itself that it is ours."""
    return OWN_TAG in statement[:64]


def prepared_text(statement: str) -> str:
    """What PREPARE prepares; any other statement as it is."""
    return _PREPARE.sub("", statement, count=1)


def _sql(line: LogLine, statement: str) -> str:
    """What ran: the prepared text behind an EXECUTE, else the statement itself."""
    return statement if line.prepared is None else prepared_text(line.prepared)


@dataclass(slots=True)
class LineReader:
    """Turns lines of one connector's database into executions; keeps what a later line may take back.

    With `log_statement` a line is written before its statement runs: it counts unless the session's next line
    is an error. A line with a duration is written after success.
    """

    database: str
    excluded_users: frozenset[str]
    clock: LogClock
    since: datetime | None = None
    undated: int = 0
    _begun: dict[str, Execution] = field(default_factory=dict)

    def read(self, lines: Iterable[LogLine]) -> list[Execution]:
        """The executions that these lines tell of; what is still open at the end counts."""
        found: list[Execution] = []
        for line in lines:
            if line.database == self.database:
                self._read(line, found)
        found += self._begun.values()
        self._begun.clear()
        return found

    def _read(self, line: LogLine, found: list[Execution]) -> None:
        begun = self._begun.pop(line.session_id, None) if self._begun else None
        if begun and line.severity not in ("ERROR", "FATAL", "PANIC"):
            found.append(begun)
        if line.severity != "LOG" or line.user in self.excluded_users:
            return
        if ran := _RAN.fullmatch(line.message):
            execution = self._execution(line, ran[2], timedelta(milliseconds=float(ran[1])))
            if execution:
                found.append(execution)
        elif (start := _BEGAN.fullmatch(line.message)) and (execution := self._execution(line, start[1])):
            self._begun[line.session_id] = execution

    def _execution(self, line: LogLine, statement: str, took: timedelta = timedelta(0)) -> Execution | None:
        if is_ours(line, statement) or not is_usage(line.command_tag, statement):
            return None
        try:
            executed_at = self.clock.read(line.log_time) - took
        except (UnknownZone, ValueError):
            self.undated += 1
            return None
        if self.since and executed_at < self.since:
            return None
        return Execution(line.id, _sql(line, statement), line.user or None, executed_at)
