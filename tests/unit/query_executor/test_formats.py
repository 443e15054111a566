"""Formats without a server: cells, lines, what Accept means."""

import csv
import io
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query_executor.drivers import Column
from services.query_executor.formats.accept import JSON, NotAcceptable, chosen
from services.query_executor.formats.ndjson import NdjsonWriter
from services.query_executor.formats.separated import CsvWriter, cell, without_secrets
from services.query_executor.redact import Redactor

NOTHING = Redactor.of([])
TEXT = st.text(alphabet=st.sampled_from("ab=+-@\t\r\n\"',; 1é\\"), max_size=8)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ("", '""'),
        (True, "true"),
        (-5, "-5"),
        (float("nan"), ""),
        ("=1", "'=1"),
        ("-1", "-1"),
        ("-1.5e3", "-1.5e3"),
        ("-1+1", "'-1+1"),
        ("-infinity", "-infinity"),
        ("+1", "'+1"),
        ('=a,"b"', '"\'=a,""b"""'),
        ([1, "x"], '"[1,""x""]"'),
    ],
)
def test_a_cell(value: object, shown: str) -> None:
    assert cell(value) == shown


@given(st.lists(st.tuples(TEXT, st.integers(-9, 9), TEXT), min_size=1, max_size=5))
def test_csv_is_read_as_it_was_written_and_holds_no_formula(rows: list[tuple[Any, ...]]) -> None:
    writer = CsvWriter()
    written = writer.begin([Column(name, "text") for name in "abc"], NOTHING) + writer.chunk(rows)
    head, *read = csv.reader(io.StringIO(written.decode(), newline=""))
    assert head == ["a", "b", "c"]
    for row, known in zip(read, rows, strict=True):
        assert row[1] == str(known[1])
        for text, before in ((row[0], known[0]), (row[2], known[2])):
            assert text in (before, "'" + before)
            assert not text.startswith(("=", "+", "@", "\t", "\r"))


@given(st.lists(TEXT, min_size=1, max_size=5), TEXT)
def test_ndjson_has_a_line_for_each_row(texts: list[str], name: str) -> None:
    writer = NdjsonWriter()
    written = writer.begin([Column(name, "text")], NOTHING) + writer.chunk([[text] for text in texts])
    assert [orjson.loads(line) for line in written.split(b"\n")[:-1]] == [{name: text} for text in texts]
    assert orjson.loads(writer.end({"total": 1})) == {"@end": {"status": "success", "total": 1}}


@pytest.mark.parametrize("secret", ["my-secret-word", 'quo"ted-secret', "back\\slash-secret", "with,comma"])
def test_secrets_are_in_no_format(secret: str) -> None:
    redactor = Redactor.of([secret])
    rows = [["fine", 1], [f"<{secret}>", 2]]
    columns = [Column("a", "text"), Column(f"b {secret}", "int4")]
    for writer in (CsvWriter(), NdjsonWriter()):
        written = writer.begin(columns, redactor) + writer.chunk(rows)
        plain = written.decode().replace('""', '"').replace('\\"', '"').replace("\\\\", "\\")
        assert secret not in plain
        assert "<[redacted]>" in plain
    lines = "".join(f"{cell(text)},{number}\n" for text, number in rows).encode()
    assert list(csv.reader(io.StringIO(without_secrets(lines, redactor).decode()))) == [
        ["fine", "1"],
        ["<[redacted]>", "2"],
    ]


def test_accept() -> None:
    assert chosen(None) == chosen("") == chosen("*/*") == JSON
    assert chosen("TEXT/CSV; q=0.4, application/json;q=0.3") == "text/csv"
    assert chosen("text/csv;q=bad, application/x-ndjson") == "application/x-ndjson"
    with pytest.raises(NotAcceptable):
        chosen("image/png")
