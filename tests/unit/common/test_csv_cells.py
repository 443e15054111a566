"""CSV that spreadsheets take for data only."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.csv_cells import line, text_cell

TEXT = st.text(alphabet=st.sampled_from("ab=+-@\t\r\n\"',; 1é\\"), max_size=8)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", '""'),
        ("=1", "'=1"),
        ("+1", "'+1"),
        ("@a", "'@a"),
        ("\ta", "'\ta"),
        ("-1", "-1"),
        ("-1.5e3", "-1.5e3"),
        ("-1+1", "'-1+1"),
        ("a,b", '"a,b"'),
        ('=a,"b"', '"\'=a,""b"""'),
        ("x\n", '"x\n"'),
    ],
)
def test_a_cell(text: str, cell: str) -> None:
    assert text_cell(text) == cell


def test_numbers_are_untouched() -> None:
    assert line("a", -1, 2.33, 0) == "a,-1,2.33,0\n"


@given(st.lists(TEXT, min_size=2, max_size=5))
def test_a_line_is_read_as_it_was_written_and_holds_no_formula(cells: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(line(*cells), newline=""))
    for cell, before in zip(read, cells, strict=True):
        assert cell in (before, "'" + before)
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
