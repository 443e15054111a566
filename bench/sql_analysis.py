"""Rows of a query log analysed per second, against compiled sqlglot doing the same work for each row."""

import random
import statistics
import time
from collections.abc import Callable

import sqlglot
from sqlglot import exp

from bench.harness import Result
from cli.demo.workload import HABITS
from libs.common.sql import DefaultNames, Dialect, analyse

ROWS = 3_000
ROUNDS = 3
TARGET = 10.0
_NAMES = DefaultNames("shop", ("public",))


def _log() -> list[str]:
    draw = random.Random(11)  # noqa: S311 - literals of a benchmark
    patterns = [habit.sql for habit in HABITS]
    weights = [1 / rank for rank in range(1, len(patterns) + 1)]
    chosen = draw.choices(patterns, weights, k=ROWS)
    return [sql.format(n=draw.randint(1, 10_000), country=f"C{draw.randint(1, 999)}") for sql in chosen]


def _ours(log: list[str]) -> None:
    for sql in log:
        analyse(sql, Dialect.POSTGRES, _NAMES)


def _sqlglot(log: list[str]) -> None:
    for sql in log:
        tree = sqlglot.parse_one(sql, dialect="postgres")
        tree.transform(lambda node: exp.Placeholder() if isinstance(node, exp.Literal) else node).sql("postgres")
        list(tree.find_all(exp.Table))
        list(tree.find_all(exp.Column))


def _seconds(work: Callable[[list[str]], None], log: list[str]) -> float:
    started = time.perf_counter()
    work(log)
    return time.perf_counter() - started


def measure() -> list[Result]:
    """Both arms on the same rows, interleaved, medians."""
    log = _log()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(_ours, log))
        theirs.append(_seconds(_sqlglot, log))
    rate, ratio = ROWS / statistics.median(ours), statistics.median(theirs) / statistics.median(ours)
    return [Result("sql_analysis", rate, "rows/s", ratio, f">={TARGET:g}", ratio >= TARGET)]
