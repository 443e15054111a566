"""Subscriptions of reporting: policy and one call each."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from libs.common.clock import Clock
from libs.common.consume import Consumers, InvalidRecords, Record
from libs.common.erasure import Erasing
from libs.common.event_rules import Refused
from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.records import E, fallback_id
from libs.common.tenants import Tenants
from libs.common.topics import AUDIT_RECORDED, DEPLOYMENT_RECORDED
from services.reporting.arrivals import audit_event_of, digest_id, event_id, state_of
from services.reporting.rows import State
from services.reporting.service.recording import Recording

_MAX_RECORDS: Final = 2_000
T = TypeVar("T")


def known_by(record: Record[DeploymentRecorded]) -> UUID:
    """Made of the envelope's source and id; of what the event says where it came without an id."""
    envelope = record.envelope
    if envelope.id == fallback_id(record.topic, record.raw):
        return digest_id(record.event)
    return event_id(record.event.tenant, envelope.source, envelope.id)


def _each(records: Sequence[Record[E]], made: Callable[[Record[E]], T]) -> list[T]:
    """What is made of each. Raises InvalidRecords that names all that are refused."""
    found, refused = list[T](), dict[int, str]()
    for position, record in enumerate(records):
        try:
            found.append(made(record))
        except Refused as error:
            refused[position] = str(error)
    if refused:
        raise InvalidRecords(refused)
    return found


def subscribe(consumers: Consumers, recording: Recording, tenants: Tenants, erasing: Erasing, clock: Clock) -> None:
    """Register what this service reads; records of deleted tenants are dropped."""

    def state(now: datetime) -> Callable[[Record[DeploymentRecorded]], State]:
        return lambda record: state_of(record.event, known_by(record), now)

    async def on_deployment_recorded(records: Sequence[Record[DeploymentRecorded]]) -> None:
        await recording.take(_each(records, state(clock())))

    async def on_audit_recorded(records: Sequence[Record[AuditRecorded]]) -> None:
        now = clock()
        await recording.take_audit(_each(records, lambda record: audit_event_of(record.event, now)))

    tenants.subscribe(consumers)
    erasing.subscribe(consumers, tenants)
    consumers.subscribe(
        DEPLOYMENT_RECORDED, DeploymentRecorded, tenants.living(on_deployment_recorded), max_records=_MAX_RECORDS
    )
    consumers.subscribe(AUDIT_RECORDED, AuditRecorded, tenants.living(on_audit_recorded), max_records=_MAX_RECORDS)
