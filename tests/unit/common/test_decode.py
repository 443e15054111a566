import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from libs.common.decode import Decoder
from libs.common.envelope import EnvelopeError
from libs.common.events import BiQueryRecord, DeploymentRecorded, SyncCompleted, UsageRecompute
from libs.common.failures import describe
from libs.common.topics import BI_QUERY_SCRAPED, DEPLOYMENT_RECORDED, USAGE_RECOMPUTE
from tests.unit.common.kafka_records import raw

TENANT = UUID("11111111-1111-4111-8111-111111111111")
OTHER = UUID("22222222-2222-4222-8222-222222222222")
IN_BODY = f'{{"tenant": "{TENANT}"}}'.encode()
decoder: Decoder[UsageRecompute] = Decoder(USAGE_RECOMPUTE, UsageRecompute, None)


def test_a_record_knows_its_place() -> None:
    record = decoder(raw(IN_BODY, {"ce_tenant": str(TENANT)}, partition=3, offset=9))
    assert (record.event.tenant, record.topic, record.partition, record.offset) == (TENANT, "usage.recompute", 3, 9)
    assert (record.envelope.id, record.key) == ("usage.recompute/3/9", b"k")


def test_the_tenant_may_stand_in_the_header_alone() -> None:
    assert decoder(raw(b"{}", {"ce_tenant": str(TENANT)})).event.tenant == TENANT


def test_a_default_tenant_serves_messages_that_name_none() -> None:
    single: Decoder[UsageRecompute] = Decoder(USAGE_RECOMPUTE, UsageRecompute, OTHER)
    assert single(raw(b"{}")).event.tenant == OTHER
    assert single(raw(IN_BODY)).event.tenant == TENANT


def test_a_message_without_a_tenant_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="names none"):
        decoder(raw(b"{}"))


def test_header_and_body_must_agree() -> None:
    with pytest.raises(EnvelopeError, match="different tenants"):
        decoder(raw(IN_BODY, {"ce_tenant": str(OTHER)}))


def test_unions_are_told_apart_by_kind() -> None:
    union: Decoder[SyncCompleted] = Decoder(BI_QUERY_SCRAPED, BiQueryRecord, None)
    body = (
        f'{{"kind": "sync_completed", "tenant": "{TENANT}", "connector": {{"id": "{OTHER}", "type": "t", "name": "n"}},'
        f' "job_id": "{OTHER}", "sync_seq": 1, "count": 2, "complete": true}}'
    )
    assert union(raw(body.encode())).event.count == 2


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"1", b"\xff", b'{"tenant": 1}', b"[" * 10_000])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises((EnvelopeError, ValidationError)):
        decoder(raw(body))


@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=20), st.none() | st.binary(max_size=20), max_size=4))
def test_nothing_else_can_be_raised(body: bytes, headers: dict[str, bytes | None]) -> None:
    try:
        decoder(raw(body, headers))
    except (EnvelopeError, ValidationError):
        return


def test_no_input_value_shows_in_the_reason() -> None:
    body = f'{{"tenant": "{TENANT}", "space_id": "s3cret-literal", "connector_id": ["s3cret-literal"]}}'
    with pytest.raises(ValidationError) as caught:
        decoder(raw(body.encode()))
    shown = describe(caught.value)
    assert shown == "ValidationError: space_id: uuid_parsing; connector_id: uuid_type"


def test_an_unknown_tag_does_not_show_either() -> None:
    union: Decoder[SyncCompleted] = Decoder(BI_QUERY_SCRAPED, BiQueryRecord, None)
    with pytest.raises(ValidationError) as caught:
        union(raw(f'{{"kind": "s3cret", "tenant": "{TENANT}"}}'.encode()))
    assert describe(caught.value) == "ValidationError: body: union_tag_invalid"


STRUCTURED = "application/cloudevents+json"
messages = st.tuples(
    st.sampled_from([None, TENANT, OTHER]),
    st.dictionaries(
        st.sampled_from(["ce_tenant", "CE_TENANT", "ce_specversion", "content-type", "ce_id"]),
        st.sampled_from([str(TENANT), str(OTHER), "1.0", "0.3", "", "application/json", STRUCTURED]),
        max_size=4,
    ),
)


@given(st.lists(messages, max_size=8))
def test_a_message_is_read_as_if_there_had_been_none_before_it(batch: list[tuple[UUID | None, dict[str, str]]]) -> None:
    """The decoder remembers what the last headers said."""

    def read(decoder: Decoder[UsageRecompute], tenant: UUID | None, headers: dict[str, str]) -> object:
        try:
            record = decoder(raw(f'{{"tenant": "{tenant}"}}'.encode() if tenant else b"{}", headers))
        except (EnvelopeError, ValidationError) as error:
            return str(error)
        return record.event, record.envelope

    lasting: Decoder[UsageRecompute] = Decoder(USAGE_RECOMPUTE, UsageRecompute, None)
    for tenant, headers in batch:
        assert read(lasting, tenant, headers) == read(Decoder(USAGE_RECOMPUTE, UsageRecompute, None), tenant, headers)


def test_a_structured_event_keeps_its_envelope() -> None:
    body = (
        f'{{"specversion": "1.0", "id": "e", "type": "t", "source": "/s", "time": "2026-03-18T15:30:00Z",'
        f' "data": {{"tenant": "{TENANT}"}}}}'
    )
    record = decoder(raw(body.encode(), {"content-type": STRUCTURED}))
    assert (record.envelope.id, record.sent_at) == ("e", datetime(2026, 3, 18, 15, 30, tzinfo=UTC))
    assert decoder(raw(IN_BODY)).said_at == datetime.fromtimestamp(1_700_000_000, UTC)


OPEN: dict[str, Any] = {"deploymentId": str(OTHER), "status": "succeeded", "recordedAt": "2026-03-18T15:30:00Z"}
NAMED: dict[str, Any] = {"deployment_id": str(OTHER), "status": "SUCCEEDED", "recorded_at": "2026-03-18T15:30:00Z"}
FRAME = b"\0\0\0\0\x07"


def _structured(data: object) -> bytes:
    event = {"specversion": "1.0", "id": "1", "source": "//ci", "type": "t", "tenant": str(TENANT), "data": data}
    return json.dumps(event).encode()


@pytest.mark.parametrize("frame", [b"", FRAME])
@pytest.mark.parametrize("fields", [OPEN, NAMED])
@pytest.mark.parametrize("form", ["binary", "structured", "plain"])
def test_a_deployment_is_read_in_every_form_and_spelling(form: str, fields: dict[str, Any], frame: bytes) -> None:
    deployments: Decoder[DeploymentRecorded] = Decoder(DEPLOYMENT_RECORDED, DeploymentRecorded, None)
    fields = {**fields, "source": "ci"}
    value, headers = {
        "binary": (json.dumps(fields).encode(), {"ce_tenant": str(TENANT), "ce_specversion": "1.0"}),
        "structured": (_structured(fields), {"content-type": "application/cloudevents+json; charset=utf-8"}),
        "plain": (json.dumps({**fields, "tenant": str(TENANT)}).encode(), {}),
    }[form]
    event = deployments(raw(frame + value, headers)).event
    assert (event.tenant, event.deployment_id, event.status) == (TENANT, OTHER, "SUCCEEDED")


@pytest.mark.parametrize("body", [b"\0", FRAME, FRAME + b"{", b"\0\0\0\0\0\0" + IN_BODY, FRAME + b"\x02\x06abc"])
def test_a_frame_around_something_else_is_refused(body: bytes) -> None:
    with pytest.raises((EnvelopeError, ValidationError)):
        decoder(raw(body))
