"""A Postgres csvlog as a busy warehouse writes it, for the benchmark of the whole chain."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from bench.sql_log import LogRow, generate, stream
from libs.common.sql import DefaultNames, Dialect, analyse

USERS: Final = 500
SESSIONS: Final = 200
_SPARE: Final = 1.2  # what administrators send is left out
_WORD: Final = re.compile(r"(?:/\*.*?\*/|--[^\n]*\n|[\s(])*([a-z]+)", re.DOTALL | re.IGNORECASE)
_TAGS: Final = {word: word for word in ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE")} | {"WITH": "SELECT"}


def _tag(row: LogRow) -> str | None:
    word = _WORD.match(row.sql)
    return _TAGS.get(word[1].upper()) if word else None


def _counted(rows: int, seed: int) -> Iterator[tuple[str, str]]:
    """(command tag, statement) of statements that read or change rows."""
    log = stream(int(rows * _SPARE) + 1000, seed, only=Dialect.POSTGRES)
    yield from islice(((tag, row.sql) for row in log if (tag := _tag(row))), rows)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _lines(rows: int, database: str, until: datetime, seed: int) -> Iterator[str]:
    """As the server writes: texts quoted, times, numbers and codes plain."""
    draw = random.Random(seed)  # noqa: S311 - a log, no secrets
    step, lines = timedelta(days=20) / rows, [0] * SESSIONS
    for number, (tag, sql) in enumerate(_counted(rows, seed)):
        session = draw.randrange(SESSIONS)
        lines[session] += 1
        moment = (until - step * (rows - number)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        message = _quoted(f"duration: 3.412 ms  statement: {sql}")
        yield (
            f'{moment} UTC,"analyst_{draw.randrange(USERS)}","{database}",4711,"10.0.0.7:50432",6a1b2c3d.{session:x},'
            f'{lines[session]},"{tag}",2026-01-01 00:00:00 UTC,3/77,0,LOG,00000,{message},,,,,,,,,"psql",'
            '"client backend",,0\n'
        )


def write_log(path: Path, rows: int, database: str, until: datetime, seed: int = 5) -> int:
    """Write that many executions of the 20 days before `until`; the file's size in bytes."""
    with path.open("w", newline="") as file:
        file.writelines(_lines(rows, database, until, seed))
    path.chmod(0o644)
    return path.stat().st_size


def busiest_tables(database: str, count: int, seed: int = 5) -> list[str]:
    """The tables that the log's statements name most, from a part of it."""
    names, known = DefaultNames(database, ("public",)), dict[int, list[str]]()
    seen: Counter[str] = Counter()
    for row in generate(20_000, seed, only=Dialect.POSTGRES):
        if row.pattern_no not in known:
            known[row.pattern_no] = [table.display for table in analyse(row.sql, row.dialect, names).tables]
        seen.update(known[row.pattern_no])
    return [name for name, _ in seen.most_common(count)]
