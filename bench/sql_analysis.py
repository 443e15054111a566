"""A generated query log analysed, against compiled sqlglot doing the same work for each row.

Both arms take raw statements to text without literals, tables and columns. Ours: `analyse()`, its memories
emptied before each round, so that each of the 1,400 patterns is lexed and parsed once in a round. sqlglot:
parse, a placeholder for each literal, render, tables, columns, for each row; it has no memory, so it is timed
on every twentieth row (another one each round) and scaled. CPU time, rounds interleaved, medians.
"""

import gc
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlglot
from sqlglot import exp

from bench.harness import Result
from bench.sql_log import LogRow, generate
from libs.common.process import calm_collector
from libs.common.sql import DefaultNames, analyse
from libs.common.sql.patterns import forget

ROWS: Final = 100_000
ROUNDS: Final = 3
TARGET: Final = 50.0
_SAMPLE: Final = 20
SEED: Final = 11
_NAMES: Final = DefaultNames("shop", ("public",))


def measure() -> list[Result]:
    """Rows per second with cold memories as a ratio to sqlglot, and with warm ones."""
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    log = generate(ROWS, SEED)
    gc.freeze()  # the log is not part of either arm's work
    calm_collector()  # as the services have it
    _by_sqlglot(log[:200])
    cold, warm, theirs = [], [], []
    for number in range(ROUNDS):
        forget()
        cold.append(rate(ours, log))
        warm.append(rate(ours, log))
        theirs.append(rate(_by_sqlglot, log[number::_SAMPLE]))
    alone = statistics.median(theirs)
    return [
        _result("sql_analysis", statistics.median(cold), alone, TARGET),
        _result("sql_analysis_warm", statistics.median(warm), alone, TARGET),
    ]


def ours(log: Sequence[LogRow]) -> None:
    """Analyse every row."""
    for row in log:
        analyse(row.sql, row.dialect, _NAMES)


def _by_sqlglot(log: Sequence[LogRow]) -> None:
    for row in log:
        try:
            tree = sqlglot.parse_one(row.sql, dialect=row.dialect.sqlglot)
        except sqlglot.ParseError:
            continue
        tree.transform(_without_literal).sql(row.dialect.sqlglot)
        list(tree.find_all(exp.Table))
        list(tree.find_all(exp.Column))


def _without_literal(node: exp.Expr) -> exp.Expr:
    return exp.Placeholder() if isinstance(node, exp.Literal) else node


def rate(work: Callable[[Sequence[LogRow]], None], log: Sequence[LogRow]) -> float:
    """Rows per second of this process's CPU."""
    started = time.process_time()
    work(log)
    return len(log) / (time.process_time() - started)


def _result(name: str, rate: float, alone: float, target: float) -> Result:
    return Result(name, rate, "rows/s", rate / alone, f">={target:g}", rate >= target * alone)
