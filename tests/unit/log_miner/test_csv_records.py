"""Splitting a csvlog into whole records, wherever a read ends."""

import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.log_miner.warehouses import csv_records
from services.log_miner.warehouses.csv_records import LogLine, certain_start, parse_records
from tests.support.examples import examples

_TIME = "2026-11-21 09:31:25.475 UTC"
# What breaks naive readers: quotes, commas, line breaks, several bytes a character, lines that look like log lines.
text = st.text(st.sampled_from("ab \",\n\r;é€𝄞'") | st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
looks_like_a_log = st.just(f'\n{_TIME},"u","d",1,"h","s",1,"SELECT"\n')
message = st.lists(text | looks_like_a_log, max_size=4).map("".join)


def record(number: int, said: str, *, columns: int = 26, detail: str = "", user: str = "ada") -> list[str]:
    fields = [_TIME, user, "shop", "77", "host:1", "6b0164ed.3353", str(number), "SELECT", _TIME, "3/4", "0", "LOG"]
    fields += ["00000", said, detail, "", "", "", "", "", "", "", "psql", "client backend", "", "0"]
    return fields[:columns]


def written(records: Sequence[Sequence[str]]) -> bytes:
    """As the server writes: text columns quoted, quotes doubled, one line feed at the end."""
    out = io.StringIO()
    for fields in records:
        plain = {0, 3, 6, 8, 9, 10, 12}
        cells = [f if n in plain or not f else '"' + f.replace('"', '""') + '"' for n, f in enumerate(fields)]
        out.write(",".join(cells) + "\n")
    return out.getvalue().encode()


def read_in_pieces(data: bytes, cuts: Sequence[int]) -> list[LogLine]:
    """As the miner reads: what is no whole record yet is read again with what follows."""
    lines: list[LogLine] = []
    offset = 0
    for end in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        if end > offset:
            found = parse_records(data[offset:end])
            assert found.unreadable == 0
            lines += found.lines
            offset += found.consumed
    assert offset == len(data)
    return lines


@given(st.lists(message, min_size=1, max_size=8), st.lists(st.integers(0, 4000), max_size=8))
def test_any_cuts_give_the_same_records(messages: list[str], cuts: list[int]) -> None:
    data = written([record(number, said) for number, said in enumerate(messages, 1)])
    lines = read_in_pieces(data, cuts)
    assert [line.message for line in lines] == messages
    assert [line.id for line in lines] == [f"6b0164ed.3353:{number}" for number in range(1, len(messages) + 1)]


@pytest.mark.parametrize("columns", [23, 24, 26])
def test_columns_of_each_version(columns: int) -> None:
    (line,) = parse_records(written([record(1, "statement: SELECT 1", columns=columns)])).lines
    assert (line.user, line.database, line.application, line.command_tag) == ("ada", "shop", "psql", "SELECT")


@pytest.mark.parametrize("columns", [5, 22, 27])
def test_other_numbers_of_columns_are_unreadable(columns: int) -> None:
    fields = [*record(1, "statement: SELECT 1"), "", "", ""][:columns]
    found = parse_records(written([fields, record(2, "statement: SELECT 2")]))
    assert (found.unreadable, [line.line_num for line in found.lines]) == (1, [2])


def test_an_unfinished_record_waits() -> None:
    whole = written([record(1, "one")])
    for end in range(len(whole)):
        assert parse_records(whole[:end]).consumed == 0
    assert parse_records(whole + whole[:-1]).consumed == len(whole)


def test_bind_values_are_not_kept() -> None:
    bound = record(1, "duration: 1.0 ms  execute a: SELECT $1", detail="Parameters: $1 = 'top secret'")
    prepared = record(2, "duration: 1.0 ms  statement: EXECUTE a(1)", detail="prepare: PREPARE a AS SELECT 1")
    first, second = parse_records(written([bound, prepared])).lines
    assert first.prepared is None
    assert "top secret" not in str(first)
    assert second.prepared == "PREPARE a AS SELECT 1"


@given(message, st.integers(1, 60))
def test_a_torn_record_takes_no_later_one_along(said: str, torn_at: int) -> None:
    """A server that crashed left half a record; the next start writes behind it."""
    whole = written([record(1, "duration: 1.0 ms  statement: SELECT 'half")])
    torn = whole[: whole.index(b"duration") + torn_at % 30]
    found = parse_records(torn + b"\n" + written([record(2, said), record(3, "later")]))
    assert found.unreadable == 1
    assert [(line.line_num, line.message) for line in found.lines] == [(2, said), (3, "later")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A log that was cut, torn, overwritten or mixed with records that no user wrote."""
    users = st.sampled_from(["ada", "ada", "ada", "", 'we"ird'])
    data = b""
    for number in range(1, draw(st.integers(1, 8)) + 1):
        fields = record(number, draw(message), user=draw(users), columns=draw(st.sampled_from([26, 26, 26, 24, 9])))
        whole = written([fields])
        data += (
            whole[: draw(st.integers(0, len(whole)))] + draw(st.sampled_from([b"", b"\n"]))
            if draw(st.integers(0, 5)) == 0
            else whole
        )
    if data and draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.sampled_from([b'"', b"\n", b"\r", b",", b"\xff", b"\0", b'""', b'"\n"'])) + data[at:]
    return data[draw(st.integers(0, 3)) :]


@settings(max_examples=examples(500))
@given(damaged())
def test_many_at_once_are_read_as_one_by_one(data: bytes) -> None:
    assert parse_records(data) == csv_records._one_by_one(data)


def test_where_a_record_certainly_starts() -> None:
    data = written([record(7, "x")])
    assert certain_start(data) == 0
    assert certain_start(b'half of "something\n' + data) == 19
    assert certain_start(b"nothing of the kind\n") is None
