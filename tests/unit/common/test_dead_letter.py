import hashlib
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from libs.common.dead_letter import dead_letter, scrub, to_message
from libs.common.handover import Message
from libs.common.topics import BI_QUERY_SCRAPED, USAGE_RECOMPUTE, Topic
from tests.unit.common.kafka_records import raw

AT = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
TENANT = UUID("11111111-1111-4111-8111-111111111111")
SECRET = "4111-1111-s3cret"
STATEMENT = f"SELECT * FROM cards WHERE number = '{SECRET}'"


def buried(topic: Topic, value: bytes | None, headers: dict[str, str | bytes | None] | None = None) -> Message:
    record = raw(value, headers, partition=2, offset=40)
    letter = dead_letter(topic, record, kind="invalid", error="X", reason="X: why", attempts=3)
    return to_message(letter, value, topic=topic, physical="p.dlq", group="aggregator", at=AT)


def test_the_original_and_why_it_failed() -> None:
    message = buried(USAGE_RECOMPUTE, b"{broken", {"ce_id": "1", "odd": b"\xff", "empty": None})
    assert (message.topic, message.key, message.value) == ("p.dlq", b"k", b"{broken")
    assert dict(message.headers) == {
        "ce_id": b"1",
        "odd": b"\xff",
        "empty": None,
        "dl-error": b"X: why",
        "dl-kind": b"invalid",
        "dl-attempts": b"3",
        "dl-group": b"aggregator",
        "dl-origin-topic": b"usage.recompute",
        "dl-origin-partition": b"2",
        "dl-origin-offset": b"40",
        "dl-time": b"2026-03-18T15:30:00Z",
    }


def test_a_second_burial_replaces_the_first_but_keeps_the_count_of_replays() -> None:
    message = buried(USAGE_RECOMPUTE, b"{}", {"dl-error": "old", "dl-replayed": "2"})
    assert [text for name, text in message.headers if name == "dl-error"] == [b"X: why"]
    assert dict(message.headers)["dl-replayed"] == b"2"


def test_headers_are_read_although_the_body_cannot_be() -> None:
    headers: dict[str, str | bytes | None] = {"ce_jobid": "j", "ce_jobseq": "9", "ce_tenant": str(TENANT)}
    letter = dead_letter(BI_QUERY_SCRAPED, raw(b"\xff", headers), kind="invalid", error="X", reason="X", attempts=1)
    assert letter.envelope.extensions == {"jobid": "j", "jobseq": "9"}
    assert letter.envelope.tenant == TENANT


def bi_query(**fields: object) -> bytes:
    return orjson.dumps({"kind": "bi_query", "dialect": "postgres", "sql_text": STATEMENT, **fields})


def test_statements_are_anonymised_and_unknown_fields_dropped() -> None:
    message = buried(BI_QUERY_SCRAPED, bi_query(resource_id="r", query=STATEMENT))
    assert message.value is not None
    assert orjson.loads(message.value) == {
        "kind": "bi_query",
        "dialect": "postgres",
        "resource_id": "r",
        "sql_text": "SELECT * FROM cards WHERE number = ?",
        "sql_truncated": False,
    }


def test_structured_events_are_scrubbed_inside() -> None:
    value = orjson.dumps({"specversion": "1.0", "data": orjson.loads(bi_query())})
    kept = scrub(BI_QUERY_SCRAPED, [("content-type", b"application/cloudevents+json")], value)
    assert kept is not None
    assert SECRET.encode() not in kept
    assert orjson.loads(kept)["data"]["sql_text"] == "SELECT * FROM cards WHERE number = ?"


@pytest.mark.parametrize(
    "value",
    [
        b"{" + STATEMENT.encode(),
        b"\xff" + STATEMENT.encode(),
        orjson.dumps([STATEMENT]),
        orjson.dumps(STATEMENT),
        bi_query(sql_text=[STATEMENT]),
        bi_query(dialect="klingon"),
        orjson.dumps({"sql_text": STATEMENT}),
    ],
)
def test_what_cannot_be_scrubbed_is_not_kept(value: bytes) -> None:
    message = buried(BI_QUERY_SCRAPED, value)
    headers = dict(message.headers)
    assert message.value == b""
    assert headers["dl-body-length"] == str(len(value)).encode()
    assert headers["dl-body-sha256"] == hashlib.sha256(value).hexdigest().encode()
    assert SECRET.encode() not in b"".join(text or b"" for text in headers.values())
