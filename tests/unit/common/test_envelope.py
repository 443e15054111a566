from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.envelope import (
    NO_TENANT,
    Envelope,
    EnvelopeError,
    HeaderWriter,
    MarkReader,
    event_type,
    header_map,
    is_structured,
    marks_of,
    new_envelope,
    open_message,
)
from libs.common.events import AuditRecorded, BiQueryScraped, UsageRecompute

TENANT = UUID("11111111-1111-4111-8111-111111111111")
AT = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_headers_of_the_binary_mode() -> None:
    envelope = Envelope("e1", "tidemark.x", "/tidemark/x", AT, TENANT, TRACE, {"jobid": "j", "jobseq": "7"})
    assert dict(envelope.to_headers()) == {
        "ce_specversion": b"1.0",
        "ce_id": b"e1",
        "ce_type": b"tidemark.x",
        "ce_source": b"/tidemark/x",
        "ce_time": b"2026-03-18T15:30:00Z",
        "ce_tenant": str(TENANT).encode(),
        "ce_jobid": b"j",
        "ce_jobseq": b"7",
        "traceparent": TRACE.encode(),
        "content-type": b"application/json",
    }


@given(
    st.builds(
        Envelope,
        id=st.text(min_size=1),
        type=st.text(),
        source=st.text(),
        time=st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])),
        tenant=st.none() | st.uuids(),
        traceparent=st.none() | st.just(TRACE),
        extensions=st.dictionaries(st.from_regex(r"\A[a-z0-9]{1,12}x\Z"), st.text(), max_size=3),
    )
)
def test_headers_give_the_envelope_back(envelope: Envelope) -> None:
    assert Envelope.from_headers(envelope.to_headers()) == envelope


@given(st.lists(st.tuples(st.text(), st.none() | st.binary())))
def test_any_headers_can_be_read(headers: list[tuple[str, bytes | None]]) -> None:
    assert Envelope.from_headers(headers, "fallback").id


def test_what_is_malformed_is_left_out() -> None:
    headers = [("ce_time", b"yesterday"), ("ce_tenant", b"acme"), ("ce_type", b"\xff"), ("ce_jobid", None)]
    envelope = Envelope.from_headers(headers, "t/0/5")
    assert (envelope.id, envelope.time, envelope.tenant) == ("t/0/5", None, None)
    assert envelope.extensions == {"jobid": ""}


def test_an_event_with_an_id_of_its_own_keeps_it() -> None:
    event = AuditRecorded(
        tenant=TENANT,
        event_id=UUID(int=7),
        occurred_at=AT,
        action="CREATE",
        event_type="X_CREATE",
        resource_type="x",
        resource_id="1",
    )
    assert new_envelope(event, source="/s", at=AT, extensions=None).id == str(UUID(int=7))


def test_other_events_get_a_new_id_each() -> None:
    event = UsageRecompute(tenant=TENANT)
    ids = {new_envelope(event, source="/s", at=AT, extensions=None).id for _ in range(3)}
    assert len(ids) == 3


def test_a_traceparent_among_the_extensions_wins() -> None:
    event = UsageRecompute(tenant=TENANT)
    envelope = new_envelope(event, source="/s", at=AT, traceparent="00-x", extensions={"traceparent": TRACE, "a": "b"})
    assert (envelope.traceparent, envelope.extensions) == (TRACE, {"a": "b"})


def test_type_of_an_event() -> None:
    assert event_type(BiQueryScraped) == "tidemark.bi_query_scraped"


STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]


def structured(**more: object) -> bytes:
    base = {"specversion": "1.0", "id": "1", "type": "t", "source": "/s", "data": {"a": 1}}
    return orjson.dumps({**base, **more})


def test_structured_mode() -> None:
    value = structured(tenant=str(TENANT), jobseq=3, traceparent=TRACE, time="2026-03-18T15:30:00Z", subject="s")
    envelope, body = open_message(STRUCTURED, value, "f")
    assert envelope == Envelope("1", "t", "/s", AT, TENANT, TRACE, {"jobseq": "3"})
    assert orjson.loads(body) == {"a": 1}
    assert is_structured(STRUCTURED)


def test_plain_json() -> None:
    envelope, body = open_message([], b"{}", "t/0/5")
    assert (envelope.id, envelope.tenant, body) == ("t/0/5", None, b"{}")
    assert not is_structured([])


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([("content-type", b"application/cloudevents-batch+json")], b"[]"),
        ([("content-type", b"application/cloudevents+xml")], b"<e/>"),
        (STRUCTURED, b"{"),
        (STRUCTURED, b"[1]"),
        (STRUCTURED, structured(data=None)),
        (STRUCTURED, structured(data="text")),
        (STRUCTURED, structured(specversion="0.3")),
        (STRUCTURED, structured(tenant="acme")),
        ([("ce_specversion", b"0.3")], b"{}"),
        ([("ce_tenant", b"acme")], b"{}"),
        ([("ce_tenant", b"")], b"{}"),
    ],
)
def test_refused(headers: list[tuple[str, bytes | None]], value: bytes) -> None:
    with pytest.raises(EnvelopeError):
        open_message(headers, value, "f")


@given(st.dictionaries(st.from_regex(r"\A[a-z0-9]{1,12}x\Z"), st.text(), max_size=3), st.booleans(), st.booleans())
def test_headers_written_at_once_are_those_of_each(extensions: dict[str, str], traced: bool, stored: bool) -> None:
    event = UsageRecompute(tenant=TENANT)
    write = HeaderWriter("/s", AT, TRACE if traced else None)
    more = extensions | ({"traceparent": TRACE.replace("b7", "b8")} if stored else {})
    wanted = new_envelope(event, source="/s", at=AT, traceparent=TRACE if traced else None, extensions=more)
    for _ in range(2):
        found = Envelope.from_headers(write(event, more))
        assert replace(found, id=wanted.id) == wanted
        assert UUID(found.id).version == 4


def test_headers_written_at_once_have_ids_of_their_own() -> None:
    write = HeaderWriter("/s", AT, None)
    events = [UsageRecompute(tenant=TENANT), UsageRecompute(tenant=UUID(int=5)), UsageRecompute(tenant=TENANT)]
    envelopes = [Envelope.from_headers(write(event, {})) for event in events]
    assert len({each.id for each in envelopes}) == 3
    assert len({Envelope.from_headers(write(events[0], {})).id for _ in range(1000)}) == 1000
    assert [each.tenant for each in envelopes] == [event.tenant for event in events]


names = st.sampled_from(
    ["content-type", "Content-Type", "ce_specversion", "ce_tenant", "CE_Tenant", "ce_time", "traceparent", "x"]
)
header_lists = st.lists(st.tuples(names, st.none() | st.binary(max_size=3)), max_size=9)


def _wanted(headers: list[tuple[str, bytes | None]]) -> tuple[bytes | None, ...]:
    known = header_map(headers)
    defaults = (b"application/json", b"1.0", NO_TENANT, None, None)
    marks = ("content-type", "ce_specversion", "ce_tenant", "ce_time", "traceparent")
    return tuple(known.get(name, default) for name, default in zip(marks, defaults, strict=True))


_values = st.sampled_from([None, b"", b"1", b"2"])
_tails = st.lists(st.tuples(names, _values), max_size=5)


@st.composite
def _messages(draw: st.DrawFn) -> list[list[tuple[str, bytes | None]]]:
    """Headers of messages, most of which end as another one does."""
    tails = draw(st.lists(_tails, min_size=1, max_size=3))
    heads = st.lists(st.tuples(names, _values), max_size=3)
    return draw(st.lists(st.builds(lambda head, tail: head + tail, heads, st.sampled_from(tails)), max_size=9))


@given(_messages())
def test_a_reader_reads_what_the_headers_of_each_message_say(messages: list[list[tuple[str, bytes | None]]]) -> None:
    read = MarkReader()
    for headers in messages:
        assert read(tuple(headers)) == marks_of(headers) == _wanted(headers)


def test_what_messages_have_in_common_is_read_once() -> None:
    read = MarkReader()
    common: list[tuple[str, bytes | None]] = [("ce_specversion", b"1.0"), ("ce_tenant", b"t")]
    marks = [read((("ce_id", str(number).encode()), *common)) for number in range(4)]
    assert marks[1] is marks[2] is marks[3]
