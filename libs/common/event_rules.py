"""What must be true of an event that the outside tells, whichever way it came. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from libs.common.clock import FUTURE_TOLERANCE
from libs.common.events import AuditRecorded, DeploymentRecorded

MAX_TEXT: Final = 1024
MAX_JSON_BYTES: Final = 65_536
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES: Final = ("recorded_at", "started_at", "finished_at", "commit_at")
_TEXTS: Final = ("component_ref", "environment_ref", "version", "commit_sha", "deployed_by", "source")
_AUDIT_TEXTS: Final = ("action", "event_type", "resource_type", "resource_id", "actor_id", "actor_username")


class Refused(ValueError):
    """A value that cannot be. `field` is its name in snake case; `rule` never holds the value."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


def check_deployment(event: DeploymentRecorded, now: datetime) -> None:
    """Raises Refused."""
    _check_texts((field, getattr(event, field)) for field in _TEXTS)
    check_json("metadata", event.metadata)
    for field in _TIMES:
        check_time(field, getattr(event, field), now)
    if event.started_at and event.finished_at and event.finished_at < event.started_at:
        raise Refused("finished_at", "is before the start")
    if event.rolls_back_current and event.status != "ROLLED_BACK":
        raise Refused("rolls_back_current", "goes with the status ROLLED_BACK only")
    if not event.component_id and not (event.component_ref or "").strip():
        raise Refused("component_id", "name the component, by its id or by a reference")
    if not event.environment_id and not (event.environment_ref or "").strip():
        raise Refused("environment_id", "name the environment, by its id or by a reference")


def check_audit(event: AuditRecorded, now: datetime) -> None:
    """Raises Refused."""
    _check_texts((field, getattr(event, field)) for field in _AUDIT_TEXTS)
    check_json("previous_resource", event.previous_resource)
    check_json("current_resource", event.current_resource)
    check_time("occurred_at", event.occurred_at, now)


def check_time(field: str, moment: datetime | None, now: datetime) -> None:
    """Raises Refused for what is more than five minutes ahead, or before 1970."""
    if moment is None:
        return
    if moment > now + FUTURE_TOLERANCE:
        raise Refused(field, "is more than five minutes ahead")
    if moment < EARLIEST:
        raise Refused(field, "is before 1970")


def _check_texts(values: Iterable[tuple[str, str | None]]) -> None:
    for field, text in values:
        if text is not None and len(text) > MAX_TEXT:
            raise Refused(field, f"is longer than {MAX_TEXT:,} characters")
        if text is not None and "\0" in text:
            raise Refused(field, "holds a NUL character")


def check_json(field: str, value: dict[str, Any] | None) -> None:
    """Raises Refused for an object that is too large, too deep, or holds what the database cannot store."""
    if not value:
        return
    try:
        written = orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        raise Refused(field, "holds numbers beyond 64 bits or is nested too deeply") from None
    if len(written) > MAX_JSON_BYTES:
        raise Refused(field, f"is larger than {MAX_JSON_BYTES:,} bytes")
    if b"\\u0000" in written and holds_nul(value):
        raise Refused(field, "holds a NUL character")
    if written.count(b"{") + written.count(b"[") > _DEEPEST and _depth(value) > _DEEPEST:
        raise Refused(field, f"is nested deeper than {_DEEPEST}")


_DEEPEST: Final = 64


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + max((_depth(each) for each in inner if isinstance(each, (Mapping, list))), default=0)


def holds_nul(value: object) -> bool:
    """Whether a text anywhere in a JSON value holds a NUL character, which the database cannot store."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(holds_nul(name) or holds_nul(inner) for name, inner in value.items())
    return isinstance(value, (list, tuple)) and any(holds_nul(inner) for inner in value)
