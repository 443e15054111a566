"""Deployments as nearly all senders write them: every field in camel case, of its own type, within its bounds. Pure.

What this does not take is not wrong: `reading.py` reads it again, takes more, and names what is wrong. Whatever this
takes, that takes with the same values.
"""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import orjson
from msgspec import Meta

from libs.common.clock import FUTURE_TOLERANCE
from libs.common.event_rules import EARLIEST, MAX_TEXT, Refused, check_json
from libs.common.ids import deployment_id
from libs.common.scraped import MAX_COUNT
from services.gateway.ingress.cloudevents import CloudEvent

_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
_Moment = Annotated[datetime, Meta(tz=True)]
_STATUSES: Final = frozenset({"PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK"})


class _Told(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    status: str
    deployment_id: UUID | None = None
    external_id: str | None = None
    component_id: UUID | None = None
    component_ref: _Text | None = None
    environment_id: UUID | None = None
    environment_ref: _Text | None = None
    version: _Text | None = None
    started_at: _Moment | None = None
    finished_at: _Moment | None = None
    recorded_at: _Moment | None = None
    commit_sha: _Text | None = None
    commit_at: _Moment | None = None
    deployed_by: _Text | None = None
    source: _Text | None = None
    sequence: Annotated[int, Meta(ge=0, le=MAX_COUNT)] = 0
    is_rework: bool = False
    rolls_back_current: bool = False
    metadata: dict[str, Any] = {}


def deployment(event: CloudEvent, tenant: UUID, now: datetime) -> tuple[str, bytes] | None:
    """Key and value of the message; None for what must be looked at more closely."""
    try:
        told = msgspec.convert(event.data, _Told)
        check_json("metadata", told.metadata)
    except (msgspec.ValidationError, Refused):
        return None
    told.status = told.status.upper()
    told.source = told.source or event.source
    told.recorded_at = told.recorded_at or event.time or now
    if not (_is_known(event, told, tenant) and _is_sound(told, now)):
        return None
    component, environment = told.component_id or told.component_ref, told.environment_id or told.environment_ref
    return f"{component}:{environment}", _written(told, tenant)


def _is_known(event: CloudEvent, told: _Told, tenant: UUID) -> bool:
    """Whether the deployment has an id, which is made of its sender's own where need be."""
    if told.deployment_id is None and told.external_id is not None:
        told.deployment_id = deployment_id(tenant, told.source or event.source, told.external_id)
    return told.deployment_id is not None


def _is_sound(told: _Told, now: datetime) -> bool:
    latest = now + FUTURE_TOLERANCE
    moments = (told.recorded_at, told.started_at, told.finished_at, told.commit_at)
    texts = (told.component_ref, told.environment_ref, told.version, told.commit_sha, told.deployed_by, told.source)
    return (
        told.status in _STATUSES
        and not (told.rolls_back_current and told.status != "ROLLED_BACK")
        and bool(told.component_id or (told.component_ref or "").strip())
        and bool(told.environment_id or (told.environment_ref or "").strip())
        and all(EARLIEST <= moment <= latest for moment in moments if moment is not None)
        and not (told.started_at and told.finished_at and told.finished_at < told.started_at)
        and not any("\0" in text for text in texts if text is not None)
    )


def _written(told: _Told, tenant: UUID) -> bytes:
    """The event as the topic has it: in snake case, without what was not told."""
    fields = {name: value for name in _FIELDS if (value := getattr(told, name)) is not None}
    # A named id is a UUID of asyncpg's, which orjson does not know.
    return orjson.dumps({"tenant": tenant, **fields}, default=str, option=orjson.OPT_UTC_Z)


_FIELDS: Final = tuple(name for name in _Told.__struct_fields__ if name != "external_id")
