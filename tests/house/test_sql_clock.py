"""Business time enters SQL as a parameter: no statement asks the database what time it is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, is_sql, modules, none

CLOCK = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\("
    r"|\b(current_timestamp|current_date|current_time|localtimestamp|localtime)\b"
    r"|'(now|today|tomorrow|yesterday)'\s*::",
    re.IGNORECASE,
)
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
# The queue's own tables, as its version installs them: leases and retries run on real time.
FROZEN = re.compile(r"\d{4}_pgqueuer\w*\.sql")


def asks_for_the_time(sql: str) -> bool:
    return CLOCK.search(COMMENT.sub("", sql)) is not None


def test_statements_take_the_time_as_a_parameter() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for module in modules("services", "libs"):
            if "sql" in module.path.parts or "warehouses" in module.path.parts:
                continue  # other people's SQL and other people's servers
            for line, text in module.strings():
                if (is_sql(text) or "store" in str(module.path)) and asks_for_the_time(text):
                    yield module.path, line, text.strip()[:60]

    none(found())


def test_migrations_have_no_default_time() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for path in files():
            if (
                path.suffix == ".sql"
                and path.parts[0] in ("services", "deploy", "libs")
                and not FROZEN.match(path.name)
            ):
                text = COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), (ROOT / path).read_text())
                lines = enumerate(text.split("\n"), 1)
                yield from ((path, number, line.strip()) for number, line in lines if asks_for_the_time(line))

    none(found())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT now()",
        "INSERT INTO t VALUES (CURRENT_TIMESTAMP)",
        "SELECT clock_timestamp ()",
        "created_at timestamptz DEFAULT now()",
        "SELECT 'now'::timestamptz",
        "SELECT localtimestamp(0)",
    ],
)
def test_the_rule_sees_every_spelling(sql: str) -> None:
    assert asks_for_the_time(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT $1::timestamptz",
        "SELECT known(1)",
        "-- now() is forbidden\nSELECT 1",
        "SELECT current_setting('app.now')",
    ],
)
def test_the_rule_sees_nothing_else(sql: str) -> None:
    assert not asks_for_the_time(sql)
