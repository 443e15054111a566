"""Which lines count, once each, for whom and when."""

from datetime import UTC, datetime, timedelta

import pytest

from services.log_miner.warehouses.csv_records import LogLine
from services.log_miner.warehouses.interface import Execution
from services.log_miner.warehouses.log_time import LogClock
from services.log_miner.warehouses.postgres_lines import LineReader, is_usage

_AT = datetime(2026, 11, 21, 9, 31, 25, 475000, UTC)


def line(message: str, tag: str = "SELECT", number: int = 1, **changes: object) -> LogLine:
    fields: dict[str, object] = {
        "log_time": "2026-11-21 09:31:25.475 UTC",
        "user": "ada",
        "database": "shop",
        "session_id": "s",
        "line_num": number,
        "command_tag": tag,
        "severity": "LOG",
        "message": message,
        "application": "psql",
    }
    return LogLine(**(fields | changes))  # type: ignore[arg-type]


def read(*lines: LogLine, **changes: object) -> list[Execution]:
    settings: dict[str, object] = {
        "database": "shop",
        "excluded_users": frozenset({"monitor"}),
        "clock": LogClock("UTC", {}),
    }
    return list(LineReader(**(settings | changes)).read(lines))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "tag", "statement"),
    [
        ("duration: 0.035 ms  statement: SELECT 'a: b'", "SELECT", "SELECT 'a: b'"),
        ("duration: 0.004 ms  execute __asyncpg_stmt_1__: SELECT $1", "SELECT", "SELECT $1"),
        ("duration: 0.004 ms  execute <unnamed>: SELECT $1", "SELECT", "SELECT $1"),
        ("duration: 0.022 ms  execute st/portal_3: SELECT g", "SELECT", "SELECT g"),
        ("duration: 12345.678 ms  statement: INSERT INTO a VALUES (1)", "INSERT", "INSERT INTO a VALUES (1)"),
        ("duration: 1.0 ms  statement: SELECT 1\nFROM a", "SELECT", "SELECT 1\nFROM a"),
        ("statement: SELECT 'after all'", "idle", "SELECT 'after all'"),
        ("execute __asyncpg_stmt_6__: SELECT a FROM t", "SELECT", "SELECT a FROM t"),
        ("duration: 1.0 ms  statement: COPY t TO STDOUT", "COPY", "COPY t TO STDOUT"),
        ("duration: 1.0 ms  statement: DECLARE c CURSOR FOR SELECT 1", "DECLARE CURSOR", None),
        ("duration: 1.0 ms  statement: CREATE TABLE a AS SELECT 1", "CREATE TABLE AS", None),
        ("duration: 1.0 ms  statement: BEGIN; SELECT 1; COMMIT", "COMMIT", None),
    ],
)
def test_executions(message: str, tag: str, statement: str | None) -> None:
    (execution,) = read(line(message, tag))
    assert execution.statement == (statement or message.split(": ", 2)[2])
    assert (execution.user, execution.resource_id) == ("ada", "s:1")


@pytest.mark.parametrize(
    ("message", "tag"),
    [
        ("duration: 0.427 ms  parse __asyncpg_stmt_1__: SELECT a", "PARSE"),
        ("duration: 0.124 ms  bind __asyncpg_stmt_1__: SELECT a", "BIND"),
        ("duration: 0.008 ms  execute fetch from st/portal_3: SELECT g", "SELECT"),
        ("execute fetch from st/portal_3: SELECT g", "SELECT"),
        ("duration: 0.035 ms", "SELECT"),
        ("connection authorized: user=ada statement: SELECT 1", "authentication"),
        ("x duration: 0.1 ms  statement: SELECT 1", "SELECT"),
        ("duration: 0.1 ms  plan:\nQuery Text: SELECT 1", "SELECT"),
        ("duration: 0.1 ms  statement: BEGIN", "BEGIN"),
        ("duration: 0.1 ms  statement: SET x = 1", "SET"),
        ("duration: 0.1 ms  statement: SHOW x", "SHOW"),
        ("duration: 0.1 ms  statement: VACUUM t", "VACUUM"),
        ("duration: 0.1 ms  statement: GRANT SELECT ON t TO x", "GRANT"),
        ("duration: 0.1 ms  statement: FETCH 5 FROM cu", "FETCH"),
        ("duration: 0.1 ms  statement: PREPARE a AS SELECT 1", "PREPARE"),
        ("duration: 0.1 ms  statement: DROP TABLE t", "DROP TABLE"),
        ("duration: 0.1 ms  statement: CREATE TABLE t (a int)", "CREATE TABLE"),
        ("duration: 0.1 ms  statement: EXPLAIN SELECT 1", "EXPLAIN"),
        ("duration: 0.1 ms  statement: SET x = 'a; select 1'", "SET"),
        ("statement: CREATE TABLE t (note text DEFAULT 'as select')", "idle"),
        ("duration: 0.1 ms  statement: /* tidemark reads the log */ SELECT 1", "SELECT"),
    ],
)
def test_no_executions(message: str, tag: str) -> None:
    assert read(line(message, tag)) == []


@pytest.mark.parametrize(
    ("statement", "usage"),
    [
        ("  -- hint\n /* x */ (select 1)", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("TABLE orders", True),
        ("create or replace view v as select 1", True),
        ("CREATE TEMP TABLE t AS (SELECT 1)", True),
        ("CREATE UNLOGGED TABLE t AS EXECUTE q(1)", True),
        ("CREATE MATERIALIZED VIEW m AS SELECT 1", True),
        ("REFRESH MATERIALIZED VIEW m", True),
        ("DECLARE c CURSOR FOR SELECT 1", True),
        ("EXECUTE q(5)", True),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", True),
        ("CREATE TABLE t (a int)", False),
        ("CREATE INDEX i ON t (a)", False),
        ("ALTER TABLE t ADD b int", False),
        ("CHECKPOINT", False),
        ("", False),
    ],
)
def test_words_decide_where_the_line_has_no_tag_yet(statement: str, usage: bool) -> None:
    assert is_usage("idle", statement) is usage


def test_the_time_is_the_statements_start() -> None:
    ended, began = read(line("duration: 25.475 ms  statement: SELECT 1"), line("statement: SELECT 2", number=2))
    assert ended.executed_at == _AT - timedelta(microseconds=25475)
    assert began.executed_at == _AT


def test_others_databases_users_and_our_own_are_left_out() -> None:
    said = "duration: 1.0 ms  statement: SELECT 1"
    assert read(line(said, database="other"), line(said, user="monitor"), line(said, application="tidemark")) == []


def test_lines_before_the_beginning_are_left_out() -> None:
    said = "duration: 0.0 ms  statement: SELECT 1"
    assert read(line(said), since=_AT + timedelta(microseconds=1)) == []
    assert len(read(line(said), since=_AT)) == 1


def test_a_line_written_before_its_statement_does_not_count_when_that_failed() -> None:
    failed = line("division by zero", "SELECT", 2, severity="ERROR")
    assert read(line("statement: SELECT 1/0", "idle", 1), failed) == []
    later = line("statement: SELECT 2", "idle", 2)
    assert [e.statement for e in read(line("statement: SELECT 1", "idle", 1), later)] == ["SELECT 1", "SELECT 2"]
    elsewhere = line("division by zero", "SELECT", 9, severity="ERROR", session_id="t")
    assert len(read(line("statement: SELECT 1", "idle", 1), elsewhere)) == 1
    spoken = line("duration: 0.035 ms", "SELECT", 2)
    assert len(read(line("statement: SELECT 1", "idle", 1), spoken)) == 1


def test_errors_are_no_executions() -> None:
    assert read(line("relation does not exist", severity="ERROR")) == []


def test_an_execute_is_what_was_prepared() -> None:
    prepared = 'PREPARE "My q" (int, text) AS SELECT a FROM t WHERE a = $1'
    (execution,) = read(line("duration: 1.0 ms  statement: EXECUTE \"My q\"(5, 'x')", "EXECUTE", prepared=prepared))
    assert execution.statement == "SELECT a FROM t WHERE a = $1"


def test_lines_of_an_unknown_zone_are_counted_and_left_out() -> None:
    reader = LineReader("shop", frozenset(), LogClock("UTC", {}))
    assert list(reader.read([line("statement: SELECT 1", log_time="2026-11-21 09:31:25.475 XYZ")])) == []
    assert reader.undated == 1


def test_a_statement_does_not_show_in_logs() -> None:
    (execution,) = read(line("statement: SELECT 'secret'"))
    assert "secret" not in repr(execution)
    assert "secret" not in repr(line("statement: SELECT 'secret'"))
