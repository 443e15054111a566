"""The same generated log against DataHub's `SqlParsingAggregator`, the engine of its query-log sources.

Ours: as in `sql_analysis`, all 100,000 rows, memories emptied before each round. DataHub: `add_observed_query`
with lineage, queries and usage on, as its sources set it up, in a venv of its own with compiled sqlglot, on
1,000 of the rows (another random sample each round). It also makes column lineage and usage buckets, which
we do not; text without literals, tables and columns both do. CPU time, rounds interleaved, medians.
"""

import gc
import json
import random
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.harness import Result
from bench.peers.venv import python_of
from bench.sql_analysis import ROWS, SEED, ours, rate
from bench.sql_log import LogRow, generate
from libs.common.process import calm_collector
from libs.common.sql.patterns import forget

PEER: Final = True
ROUNDS: Final = 5
TARGET: Final = 400.0
_SAMPLE: Final = 1_050
_SCRIPT: Final = Path(__file__).parent / "peers" / "datahub_rows.py"


def measure() -> list[Result]:
    """Rows per second, as a ratio to DataHub's."""
    python, log = python_of("datahub"), generate(ROWS, SEED)
    gc.freeze()  # the log is not part of either arm's work
    calm_collector()  # as the services have it
    mine, theirs = [], []
    for number in range(ROUNDS):
        forget()
        mine.append(rate(ours, log))
        theirs.append(_datahub(python, random.Random(number).sample(log, _SAMPLE)))  # noqa: S311
    ratio = statistics.median(mine) / statistics.median(theirs)
    return [Result("sql_analysis_datahub", statistics.median(mine), "rows/s", ratio, f">={TARGET:g}", ratio >= TARGET)]


def _datahub(python: Path, rows: Sequence[LogRow]) -> float:
    lines = "\n".join(json.dumps({"sql": row.sql, "dialect": row.dialect.value}) for row in rows)
    done = subprocess.run([python, _SCRIPT], input=lines, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])
