"""The shapes of answers."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from services.query_executor.collect import Collected
from services.query_executor.drivers import Column, Limits, Row
from services.query_executor.envelope import distinct_names, executed, failure, objects, success
from services.query_executor.redact import Redactor

NOTHING = Redactor.of([])


def test_an_execution_without_rows() -> None:
    assert orjson.loads(b"".join(executed([], total=0, execution_key="exec_1"))) == {
        "status": "success",
        "message": "Query executed successfully",
        "data": [],
        "total": 0,
        "execution_key": "exec_1",
    }


@given(st.lists(st.lists(st.integers(-5, 5), max_size=3), max_size=4))
def test_chunks_become_one_list(batches: list[list[int]]) -> None:
    chunks = [orjson.dumps(objects(["n"], [[n] for n in batch]))[1:-1] for batch in batches]
    assert orjson.loads(b"".join(executed(chunks, total=1)))["data"] == [{"n": n} for batch in batches for n in batch]


def test_a_failure_has_all_its_fields() -> None:
    assert failure("QueryValidationError", "no") == {
        "status": "error",
        "code": "QueryValidationError",
        "message": "no",
        "errors": {},
        "details": {},
    }
    assert success("done") == {"status": "success", "message": "done"}


@given(st.lists(st.sampled_from(["a", "b", "a_2", "a_3", ""]), max_size=8))
def test_names_become_distinct_and_the_first_of_each_stays(names: list[str]) -> None:
    distinct = distinct_names(names)
    assert len(set(distinct)) == len(names) == len(distinct)
    for place, name in enumerate(names):
        if name not in names[:place]:
            assert distinct[place] == name


class Listed:
    """Rows in batches of a size."""

    def __init__(self, rows: list[Row], size: int) -> None:
        self.columns = (Column("a", "text"),)
        self.available = 77
        self._rows, self._size = rows, size

    async def batch(self) -> list[Row]:
        now, self._rows = self._rows[: self._size], self._rows[self._size :]
        return now


async def test_limits_of_rows_and_bytes_cut_at_a_row() -> None:
    rows: list[Row] = [["x" * 10] for _ in range(30)]
    for limits, size, kept, truncated in (
        (Limits(30, 10_000, 1), 7, 30, False),
        (Limits(29, 10_000, 1), 7, 29, True),
        (Limits(29, 10_000, 1), 100, 29, True),
        (Limits(100, 100, 1), 100, 5, True),
        (Limits(100, 100, 1), 1, 5, True),
        (Limits(100, 5, 1), 100, 0, True),
    ):
        found = Collected()
        await found.add(Listed(rows, size), limits, NOTHING)
        assert (found.rows, found.truncated, found.available) == (kept, truncated, 77), (limits, size)
        assert len(orjson.loads(b"".join(executed(found.chunks, total=kept)))["data"]) == kept


async def test_secrets_are_redacted_where_rows_are_cut_too() -> None:
    rows: list[Row] = [["my-secret-word"] for _ in range(5)]
    found = Collected()
    await found.add(Listed(rows, 5), Limits(100, 50, 1), Redactor.of(["my-secret-word"]))
    assert found.rows == 2
    assert b"secret-word" not in b"".join(found.chunks)
