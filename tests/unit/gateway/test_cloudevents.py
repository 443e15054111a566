"""CloudEvents over HTTP are read as the specification says, and as the SDK of CloudEvents writes them."""

import json
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Unprocessable, UnsupportedMedia
from services.gateway.ingress.cloudevents import (
    CloudEvent,
    Invalid,
    RawHeaders,
    mode_of,
    read_binary,
    read_structured,
    split_batch,
)

KNOWN: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "//ci", "type": "t", "data": {"a": 1}}
BINARY = ((b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"//ci"), (b"ce-type", b"t"))

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)


@st.composite
def sdk_events(draw: st.DrawFn) -> SdkEvent:
    attributes: dict[str, Any] = {name: draw(texts) for name in ("id", "source", "type")}
    attributes |= {"specversion": "1.0", "time": draw(moments), "datacontenttype": "application/json"}
    if draw(st.booleans()):
        attributes["subject"] = draw(texts)
    return SdkEvent(attributes, draw(objects))


def told(event: CloudEvent) -> tuple[object, ...]:
    return event.id, event.source, event.type, event.time, event.subject, event.data


def said(event: SdkEvent) -> tuple[object, ...]:
    named = (event.get_id(), event.get_source(), event.get_type(), event.get_time(), event.get_subject())
    return (*named, event.get_data())


@given(sdk_events())
def test_what_the_sdk_writes_is_read(event: SdkEvent) -> None:
    structured = to_structured(event, JSONFormat())
    assert told(read_structured(structured.body)) == said(event)
    binary = to_binary(event, JSONFormat())
    headers = [(name.lower().encode(), value.encode()) for name, value in binary.headers.items()]
    assert mode_of(headers) == "binary"
    assert told(read_binary(headers, binary.body)) == said(event)


@pytest.mark.parametrize(
    ("content_type", "mode"),
    [
        (b"application/cloudevents+json", "structured"),
        (b"APPLICATION/CLOUDEVENTS+JSON ; Charset=UTF-8", "structured"),
        (b'application/cloudevents+json; charset="utf-8"; v=1', "structured"),
        (b"application/cloudevents-batch+json", "batched"),
        (b"application/json", "binary"),
        (b"application/vnd.acme+json; charset=us-ascii", "binary"),
        (b"application/cdevents+json", "binary"),
    ],
)
def test_the_mode_is_told_by_the_content_type(content_type: bytes, mode: str) -> None:
    assert mode_of([(b"content-type", content_type), *BINARY]) == mode


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"text/xml"), *BINARY],
        [(b"content-type", b"application/cloudevents"), *BINARY],
        [(b"content-type", b"application/cloudevents+protobuf"), *BINARY],
        [(b"content-type", b"application/cloudevents+json; charset=latin-1")],
        [(b"content-type", b"application/cloudevents+json"), (b"content-encoding", b"gzip")],
    ],
)
def test_other_forms_are_unsupported(headers: RawHeaders) -> None:
    with pytest.raises(UnsupportedMedia):
        mode_of(headers)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b'"quoted \\" %22"', 'quoted " "'),
        (b"plain%", "plain%"),
        (b"%ff", "\ufffd"),
    ],
)
def test_headers_are_unquoted_and_percent_decoded(written: bytes, meant: str) -> None:
    event = read_binary([*BINARY, (b"ce-subject", written)], b"{}")
    assert event.subject == meant


def test_an_attribute_sent_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="id: must be sent once"):
        read_binary([*BINARY, (b"ce-id", b"2")], b"{}")


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type", "data"])
@pytest.mark.parametrize("instead", [None, "", 7, [], "\0"])
def test_required_attributes_are_never_made_up(missing: str, instead: object) -> None:
    for event in ({**KNOWN, missing: instead}, {name: value for name, value in KNOWN.items() if name != missing}):
        with pytest.raises(Invalid) as caught:
            read_structured(json.dumps(event).encode())
        assert [each.field for each in caught.value.problems] == [missing]


def test_data_in_base64_is_json_too() -> None:
    event = {**KNOWN, "data": None, "data_base64": b64encode(b'{"a": 1}').decode()}
    assert read_structured(json.dumps(event).encode()).data == {"a": 1}
    for broken in ("!", b64encode(b"{").decode(), b64encode(b"\xff").decode()):
        with pytest.raises(Invalid, match="data"):
            read_structured(json.dumps({**event, "data_base64": broken}).encode())


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_sent_is_read_or_refused(body: bytes) -> None:
    with suppress(Invalid):
        assert isinstance(read_structured(body), CloudEvent)
    with suppress(Invalid):
        assert isinstance(read_binary(BINARY, body), CloudEvent)
    with suppress(Unprocessable):
        assert isinstance(split_batch(body), list)


@given(st.dictionaries(st.sampled_from([*KNOWN, "time", "subject", "traceparent", "x"]), values, max_size=8))
def test_the_quick_way_takes_nothing_that_the_slow_one_refuses(changes: dict[str, Any]) -> None:
    body = json.dumps({**KNOWN, **changes}).encode()
    slowly = json.dumps({**KNOWN, **changes, "datacontenttype": "application/x+json"}).encode()
    found: list[tuple[object, ...] | None] = []
    for each in (body, slowly):
        try:
            event = read_structured(each)
            found.append((*told(event), event.trace))
        except Invalid:
            found.append(None)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-18T15:30:00Z", datetime(2026, 3, 18, 15, 30, tzinfo=UTC)),
        ("2026-03-18T17:30:00.5+02:00", datetime(2026, 3, 18, 15, 30, tzinfo=UTC) + timedelta(milliseconds=500)),
        ("2026-03-18t15:30:00.123456789z", datetime(2026, 3, 18, 15, 30, 0, 123457, tzinfo=UTC)),
        ("2026-03-18T15:30:00", None),
        ("2026-03-18", None),
        ("1773847800", None),
        (1773847800, None),
    ],
)
def test_times_have_a_zone(written: object, moment: datetime | None) -> None:
    body = json.dumps({**KNOWN, "time": written}).encode()
    if moment is not None:
        assert read_structured(body).time == moment
    else:
        with pytest.raises(Invalid, match="time: must be a time with its zone"):
            read_structured(body)
