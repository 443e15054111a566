"""The structs of the hot records mean what their pydantic models mean: both take the same, and read equal values."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, get_args
from uuid import UUID

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from libs.common import scraped, scraped_shapes
from libs.common.ids import bi_query_id
from libs.common.scraped import BiQueryRecord, BiQueryScraped, ColumnUse, ConnectorRef, SyncCompleted, TableRef
from libs.common.scraped_reading import RecordReader, read_bi_query, read_record

TENANT, OTHER = (UUID(int=number << 100) for number in (1, 2))
_shape = scraped_shapes.BiQueryScraped | scraped_shapes.SyncCompleted
model: TypeAdapter[Any] = TypeAdapter(Annotated[_shape, Field(discriminator="kind")])
alone = msgspec.json.Decoder(BiQueryRecord)

QUERY: dict[str, Any] = {
    "kind": "bi_query",
    "tenant": str(TENANT),
    "id": str(OTHER),
    "connector": {"id": str(OTHER), "type": "postgres", "name": "Shop"},
    "dialect": "postgres",
    "resource_type": "query_log",
    "resource_id": "r",
    "executed_at": "2026-03-18T15:30:00Z",
    "tables": [{"name": ["shop", "orders"], "display": "shop.orders"}],
    "columns": [{"table": ["shop", "orders"], "column": "id"}],
}
CLOSING: dict[str, Any] = {
    **{name: QUERY[name] for name in ("tenant", "connector")},
    "kind": "sync_completed",
    "job_id": str(OTHER),
    "sync_seq": 1,
    "count": 2,
    "complete": True,
}


def values(event: Any) -> Any:
    """Fields and values, whatever class holds them."""
    if isinstance(event, BaseModel):
        return {name: values(getattr(event, name)) for name in type(event).model_fields}
    if isinstance(event, msgspec.Struct):
        kind = {"kind": event.kind} if isinstance(event, scraped.ScrapedEvent) else {}  # type: ignore[attr-defined]
        return kind | {name: values(getattr(event, name)) for name in event.__struct_fields__}
    return tuple(map(values, event)) if isinstance(event, tuple) else event


remembering = RecordReader()


def outcome(read: Callable[[bytes], Any], body: bytes) -> dict[str, Any] | list[Any]:
    """What is read, or all that is wrong."""
    try:
        found: dict[str, Any] = values(read(body))
    except ValidationError as error:
        return list(error.errors(include_url=False))
    return found


def agree(body: bytes) -> bool:
    """Whether both take it; asserts that they say the same."""
    wanted, read = outcome(model.validate_json, body), outcome(read_record, body)
    assert read == wanted
    assert outcome(remembering, body) == wanted  # of parts that it may have met before
    assert outcome(remembering, body) == wanted
    return isinstance(read, dict)


def with_(base: dict[str, Any], **changes: Any) -> bytes:
    return orjson.dumps({**base, **changes})


TAKEN: list[dict[str, Any]] = [
    *({"executed_at": text} for text in (
        None, "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z", "2026-01-01_00:00:00Z", "2026-01-01T00:00Z",
        "2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00+0200", "1800000000", 1800000000,
        "2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.1234564Z", "2026-01-01T00:00:00.1234565Z",
        "2026-12-31T23:59:59.9999999Z", "2026-01-01T00:00:00.123456789123Z", "2026-01-01T00:00:00,5Z",
        "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.9999999Z", "2026-01-01T00:00:00.1234567+05:30",
    )),
    *({"sync_seq": number} for number in (None, 0, 3, "3", 3.0, True, 2**53 + 1, 2**63)),
    *({"execution_count": number} for number in (1, "3", 3.0, True, 2**53)),
    *({"tenant": text} for text in (TENANT.hex, str(TENANT).upper(), f"{{{TENANT}}}", f"urn:uuid:{TENANT}")),
    *({"resource_id": text} for text in ("x" * 1024, "é" * 1024, "😀" * 1024, "a\0b")),
    *({"sql_truncated": value} for value in (1, "true", "off", False)),
    {"unknown": {"a": [1, None, {"b": "ü"}]}}, {"tables": [{"name": ["a"], "display": "", "more": {}}]}, {"tables": []},
]  # fmt: skip
REFUSED: list[dict[str, Any]] = [
    *({"executed_at": text} for text in (
        "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z", "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z", "2026-01-01T00:00:00+24:00", "20260101T000000Z", "2026-01-01T00:00:00Z ",
        "2026-01-01T00:00:00.1234567", "2026-01-01T00:00:00.Z",
    )),
    {"sync_seq": -1}, {"sync_seq": 3.5}, {"sync_seq": "x"}, {"sync_seq": []},
    *({"job_seq": number} for number in (0, -1)),
    *({"execution_count": number} for number in (0, -1, None, 2**53 + 1)),
    *({"tenant": text} for text in ("", 1, str(TENANT)[:-1], f" {TENANT}", None)),
    *({"resource_id": text} for text in ("", "x" * 1025, 3, None)),
    {"environment": "dev"}, {"environment": None}, {"resource_type": "x"}, {"sql_truncated": None}, {"title": 3},
    {"kind": "x"}, {"kind": None}, {"kind": "sync_completed"}, {"tables": None}, {"tables": {}}, {"connector": None},
    *({"tables": [{"name": name, "display": "d"}]} for name in ([], ["a"] * 4, "abc", [None])),
    {"columns": [{"table": ["a"]}]},
]  # fmt: skip


@pytest.mark.parametrize("changes", TAKEN, ids=repr)
def test_both_take(changes: dict[str, Any]) -> None:
    assert agree(with_(QUERY, **changes))


@pytest.mark.parametrize("changes", REFUSED, ids=repr)
def test_both_refuse_with_the_same_words(changes: dict[str, Any]) -> None:
    assert not agree(with_(QUERY, **changes))


@pytest.mark.parametrize("field", [name for name in CLOSING if name != "kind"])
def test_what_is_required_of_a_closing_record(field: str) -> None:
    assert agree(with_(CLOSING))
    assert not agree(orjson.dumps({name: value for name, value in CLOSING.items() if name != field}))


TEXT = with_(QUERY).decode()
KIND = '"kind":"bi_query",'


@pytest.mark.parametrize(
    ("new", "taken"),
    [
        ("", False),
        (KIND * 2, True),
        ('"kind":"sync_completed",' + KIND, True),
        (KIND + '"kind":"sync_completed",', False),
        ('"\\u006bind":"bi_query",', True),
        (KIND + '"title":3,"title":"t",', True),
        (KIND + '"x":"\\ud800",', False),
        (KIND + '"x":NaN,', True),
        (KIND + '"x":1e999,', True),
        (KIND + '"x":01,', False),
        (KIND + '"x":"\\q",', False),
        (KIND + '"x":"\x01",', False),
        (KIND + '"x":[1,],', False),
        (KIND + '"x":"\udcff",', False),
        (KIND + '"\udcff":1,', False),
        (KIND + '"title":"\udcff",', False),
        (KIND + f'"x":{"[" * 100}{"]" * 100},', True),
        (KIND + f'"x":{"[" * 5000}{"]" * 5000},', False),
    ],
)
def test_odd_json(new: str, taken: bool) -> None:
    assert agree(TEXT.replace(KIND, new).encode("utf-8", "surrogateescape")) is taken


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"1", b"\xff", b"[" * 10_000, b"\xef\xbb\xbf{}"])
def test_what_is_no_record(body: bytes) -> None:
    assert not agree(body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat())
in_a_field = json_values | moments | st.uuids().map(str)
fields = st.sampled_from([*QUERY, *CLOSING, *scraped_shapes.BiQueryScraped.model_fields])


@given(
    st.sampled_from([QUERY, CLOSING]), st.dictionaries(fields, json_values | moments | st.uuids().map(str), max_size=3)
)
def test_whatever_stands_in_a_field(base: dict[str, Any], changes: dict[str, Any]) -> None:
    agree(json.dumps({**base, **changes}, ensure_ascii=False).encode())  # orjson writes no integer beyond 64 bits


@given(st.binary(max_size=60), st.integers(0, len(TEXT)), st.integers(0, 20))
def test_whatever_is_damaged(junk: bytes, at: int, lost: int) -> None:
    raw = TEXT.encode()
    agree(raw[:at] + junk + raw[at + lost :])


names = st.lists(st.text(min_size=1), min_size=1, max_size=3).map(tuple)
events = st.builds(
    BiQueryScraped,
    tenant=st.uuids(),
    id=st.uuids() | st.just(bi_query_id(TENANT, OTHER, "chart", "1")),
    connector=st.builds(ConnectorRef, id=st.uuids(), type=st.text(), name=st.text()),
    dialect=st.text(),
    resource_type=st.sampled_from(get_args(scraped.ResourceType)),
    resource_id=st.text(min_size=1),
    sql_text=st.none() | st.text(),
    executed_at=st.none() | st.datetimes(timezones=st.timezones().filter(lambda zone: zone.key == "UTC")),
    execution_count=st.integers(1, 2**53),
    tables=st.lists(st.builds(TableRef, name=names, display=st.text()), max_size=2).map(tuple),
    columns=st.lists(st.builds(ColumnUse, table=names, column=st.text()), max_size=2).map(tuple),
)


@given(events)
def test_what_is_written_is_read_by_the_quick_way_and_by_the_model(event: BiQueryScraped) -> None:
    written = event.to_json()
    assert alone.decode(written) == event == read_record(written) == read_bi_query(event.model_dump_json())
    assert values(model.validate_json(written)) == values(event)


@given(st.lists(events, max_size=5))
def test_what_is_remembered_changes_nothing(said: list[BiQueryScraped]) -> None:
    reader, bodies = RecordReader(), [event.to_json() for event in said * 2]
    assert [reader(body) for body in bodies] == [read_record(body) for body in bodies] == said * 2


def test_parts_that_change_in_turns_are_told_apart() -> None:
    """Each is compared with the one before, and a text's tables and columns with those that it had at first."""
    changes: list[dict[str, Any]] = [
        {"sql_text": "select ?", "tables": []},
        {"sql_text": "select ?"},
        {"sql_text": "select ?", "columns": []},
        {"tables": []},
        {"job_id": str(TENANT)},
        {"connector": {"id": str(TENANT), "type": "mysql", "name": "Shop"}},
        {"tenant": str(OTHER)},
    ]
    reader, bodies = RecordReader(), [with_(QUERY, **each) for each in changes] * 3
    assert [reader(body) for body in bodies] == [read_record(body) for body in bodies]
    assert len(set(map(reader, bodies))) == len(changes)


def test_what_is_read_is_a_record_like_any_other() -> None:
    record = RecordReader()(TEXT.encode())
    assert type(record) is BiQueryScraped
    assert record.to_json() == read_record(record.to_json()).to_json()
    with pytest.raises(AttributeError):
        record.title = "x"  # type: ignore[misc]


def test_parts_of_the_same_bytes_are_shared() -> None:
    reader = RecordReader()
    one, other = (reader(with_(QUERY, resource_id=name)) for name in ("a", "b"))
    assert isinstance(one, BiQueryScraped)
    assert isinstance(other, BiQueryScraped)
    assert one.tables is other.tables
    assert one.connector is other.connector


@given(st.text())
def test_texts_are_escaped_as_orjson_does(text: str) -> None:
    """An erasure looks for a name as it stands in a stored record."""
    event = read_bi_query(TEXT).model_copy(update={"executed_by": text})
    assert orjson.dumps(text).decode() in event.model_dump_json()


@pytest.mark.parametrize("name", ["ConnectorRef", "TableRef", "ColumnUse", "BiQueryScraped", "SyncCompleted"])
def test_fields_and_defaults_are_the_same(name: str) -> None:
    shape: type[BaseModel] = getattr(scraped_shapes, name)
    struct = getattr(scraped, name)
    known = {each.name: each for each in msgspec.structs.fields(struct)}
    assert known.keys() == shape.model_fields.keys() - {"kind"}
    for field, told in shape.model_fields.items():
        if field != "kind":
            assert known[field].required == told.is_required()
            assert told.is_required() or known[field].default == told.default


def test_a_stored_record_of_another_kind_is_refused() -> None:
    closing = read_record(orjson.dumps(CLOSING))
    assert isinstance(closing, SyncCompleted)
    with pytest.raises(ValueError, match="not a BiQuery"):
        read_bi_query(closing.model_dump_json())
    assert closing.model_copy(update={"count": 3}).count == 3
    assert read_bi_query(TEXT).executed_at == datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
