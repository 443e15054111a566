"""Batches by columns say what the same rows say, and hide what they hide."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.query_executor.drivers import Column
from services.query_executor.drivers.frames import Frame
from services.query_executor.formats.separated import CsvWriter
from services.query_executor.optional import optional
from services.query_executor.redact import Redactor

pyarrow = optional("pyarrow")
pytestmark = pytest.mark.skipif(pyarrow is None, reason="the group `arrow` is not installed")

SECRETS = ("canary-1", 'say"x"y', "ab\\cdef", "a,b\n\"c'", "123456", "infini", "2024-0")
TEXT = st.none() | st.lists(st.sampled_from([*"ab=+-@\t\r\n\"',; 1é漢\\", "-1.5e3", *SECRETS]), max_size=4).map("".join)
MOMENT = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).flatmap(  # noqa: DTZ001 - zones differ
    lambda moment: st.sampled_from([moment, moment.replace(microsecond=0)])
)
ROW = st.tuples(TEXT, MOMENT, MOMENT, st.none() | st.integers(-(2**53), 2**53), st.none() | st.booleans(), TEXT)
COLUMNS = [Column(name, "any") for name in "abcdef"]


def _frame(rows: list[tuple[Any, ...]], cut: int) -> Frame:
    zoned, plain = pyarrow.timestamp("us", "UTC"), pyarrow.timestamp("us")
    types = (pyarrow.string(), zoned, plain, pyarrow.int64(), pyarrow.bool_(), pyarrow.string())
    columns = [pyarrow.array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)]
    return Frame(pyarrow.RecordBatch.from_arrays(columns, names=list("abcdef")).slice(cut))


def _cells(written: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written.decode(), newline="")))


_SHOWN_IN_A_TIME = (None, datetime(2024, 1, 5), datetime(2024, 1, 5), None, None, None)  # noqa: DTZ001 - zones differ
_SHOWN_IN_A_NUMBER = (None, None, None, 91234560, None, "-1.5e3")


@example([_SHOWN_IN_A_TIME] * 2, 0, {"2024-0"})
@example([_SHOWN_IN_A_NUMBER] * 2, 1, {"123456"})
@given(st.lists(ROW, min_size=2, max_size=8), st.integers(0, 1), st.sets(st.sampled_from(SECRETS), max_size=2))
def test_a_frame_has_the_cells_of_its_rows(rows: list[tuple[Any, ...]], cut: int, secrets: set[str]) -> None:
    redactor = Redactor.of(secrets)
    by_columns, by_rows = CsvWriter(), CsvWriter()
    for writer in (by_columns, by_rows):
        writer.begin(COLUMNS, redactor)
    zoned = [(a, b and b.replace(tzinfo=UTC), *more) for a, b, *more in rows]
    assert _cells(by_columns.chunk(_frame(rows, cut))) == _cells(by_rows.chunk(zoned[cut:]))


@pytest.mark.parametrize(
    ("secret", "hidden"),
    [("canary-1", [True, False, False]), ("infinity", [False, True, False]), ("123456", [False, False, True])],
)
def test_a_secret_is_found_wherever_it_may_hide(secret: str, hidden: list[bool]) -> None:
    end = pyarrow.array([-9_222_425_352_054_775_809], pyarrow.int64()).cast(pyarrow.timestamp("us"))
    columns = [pyarrow.array(["a canary-1"]), end, pyarrow.array([91234560])]
    writer = CsvWriter()
    writer.begin(COLUMNS[:3], Redactor.of([secret]))
    (cells,) = _cells(writer.chunk(Frame(pyarrow.RecordBatch.from_arrays(columns, names=list("abc")))))
    assert ["[redacted]" in cell for cell in cells] == hidden
