"""What values of servers become in JSON."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query_executor.drivers.values import document, integer, interval, jsonable, number
from services.query_executor.envelope import OPTIONS


class Mood(Enum):
    CALM = "calm"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (2**53, 2**53),
        (2**53 + 1, str(2**53 + 1)),
        (-(2**53) - 1, str(-(2**53) - 1)),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        (Decimal("150000"), 150000),
        (Decimal("1.10"), 1.1),
        (Decimal("123456789012345.000"), 123456789012345.0),
        (Decimal("1234567890123456"), "1234567890123456"),
        (Decimal("0.1234567890123456"), "0.1234567890123456"),
        (Decimal("1E+20"), 1e20),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("0"), 0),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
        (datetime(2024, 1, 15, 10, 30, tzinfo=UTC), "2024-01-15T10:30:00Z"),
        (datetime.fromisoformat("2024-01-15T10:30:00.000005"), "2024-01-15T10:30:00.000005"),
        (date(2024, 1, 15), "2024-01-15"),
        (time(10, 30), "10:30:00"),
        (timedelta(days=-1, hours=2), "P-1DT2H"),
        (b"\x00\xff", "AP8="),
        (memoryview(b"ab"), "YWI="),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (ip_address("10.0.0.1"), "10.0.0.1"),
        (ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
        (ip_network("2001:db8::/32"), "2001:db8::/32"),
        ((1, "a", None), [1, "a", None]),
        ({3: Decimal("1.5"), "x": [b"a"]}, {"3": 1.5, "x": ["YQ=="]}),
        ({"b", "a"}, ["a", "b"]),
        (Mood.CALM, "calm"),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_a_value_as_it_is_written(value: Any, written: object) -> None:
    assert orjson.loads(orjson.dumps(jsonable(value), option=OPTIONS)) == written


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
def test_a_decimal_is_a_number_only_where_it_is_exact(value: Decimal) -> None:
    written = number(value)
    if isinstance(written, str):
        assert Decimal(written) == value
    elif isinstance(written, float):
        assert Decimal(repr(written)) == value
    else:
        assert written == value


@given(st.integers())
def test_an_integer_is_a_number_only_where_doubles_hold_it(value: int) -> None:
    written = integer(value)
    assert int(written) == value
    assert isinstance(written, str) == (abs(value) > 2**53)


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        ((0, 0, 0), "PT0S"),
        ((14, -3, 14_706_700_000), "P1Y2M-3DT4H5M6.7S"),
        ((0, 0, -1_500_000), "PT-1.5S"),
        ((-13, 0, 0), "P-1Y-1M"),
        ((0, 1, 1), "P1DT0.000001S"),
        ((0, 0, 90_000_000_000), "PT25H"),
    ],
)
def test_intervals_are_iso_8601(parts: tuple[int, int, int], written: str) -> None:
    assert interval(*parts) == written


def test_long_integers_in_documents_are_text() -> None:
    assert document('{"a": [9007199254740993, 1], "b": 1.5}') == {"a": ["9007199254740993", 1], "b": 1.5}
    assert document('{"a": 1}') == {"a": 1}
    assert document('"1234567890123456789"') == "1234567890123456789"
