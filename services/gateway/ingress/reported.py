"""What another system tells of a deployment, in its own names; how its payload is read. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from libs.common.errors import Unprocessable

Status = Literal["PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK"]
Json = Mapping[str, Any]

FINISHED: Final = frozenset({"SUCCEEDED", "FAILED", "ROLLED_BACK"})
_LONGEST: Final = 500
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_INDEX: Final = re.compile(r"[0-9]{1,6}")
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?")
# RFC 3339, and GitLab's `2021-04-28 21:50:00 +0200` and `… UTC`; fractions of any length, as Go writes them.
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)? ?(?:(?P<utc>[Zz]|UTC)|([+-]\d\d):?(\d\d))", re.ASCII
)
# Unix time in seconds, milliseconds, microseconds or nanoseconds, by its size: until the year 5138.
_LAST: Final = 1e20
_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (_LAST, 1e9))


class Malformed(Unprocessable):
    """The payload is not what its sender says it is. The text names the field and never what stands there."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """There is nothing to record, and sending it again changes nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """A component or an environment: `ref` is its name where the source maps none of the `names`, tried in order."""

    ref: str | None
    names: tuple[str, ...] = ()


def named(*names: str | None) -> Place:
    """A place whose most exact name stands first and is its ref."""
    known = tuple(dict.fromkeys(name for name in names if name))
    return Place(known[0] if known else None, known)


@dataclass(frozen=True, slots=True)
class Reported:
    """One state of one deployment. `external_id` is the sender's own, the same for each state."""

    external_id: str
    component: Place
    environment: Place
    status: Status
    recorded_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    version: str | None = None
    commit_sha: str | None = None
    commit_at: datetime | None = None
    deployed_by: str | None = None
    sequence: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)


Reading = list[Reported] | Ignored


def value_at(payload: object, path: str) -> object:
    """What stands at a dotted path, where a number is a place in a list; None where the path leads nowhere."""
    found = payload
    for part in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and _INDEX.fullmatch(part) and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def text_at(payload: object, path: str) -> str | None:
    """A text, or a whole number as one; None where there is neither, nor anything in it. Raises Malformed."""
    found = value_at(payload, path)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if not isinstance(found, str) or not found.strip():
        return None
    if len(found) > _LONGEST or _CONTROL.search(found):
        raise Malformed(f"{path}: longer than {_LONGEST} characters, or holds control characters")
    return found.strip()


def needed_text(payload: object, path: str) -> str:
    """As text_at; Malformed where there is none."""
    found = text_at(payload, path)
    if found is None:
        raise Malformed(f"{path}: is missing")
    return found


def address_at(payload: object, path: str) -> str | None:
    """A web address without what may hold a secret: user, query and fragment. None where there is none."""
    found = value_at(payload, path)
    try:
        parts = urlsplit(found) if isinstance(found, str) and len(found) <= _LONGEST else None
    except ValueError:
        return None
    if parts is None or parts.scheme not in ("http", "https") or _CONTROL.search(parts.netloc + parts.path):
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def moment_at(payload: object, path: str) -> datetime | None:
    """A time in UTC; None where there is none, or Go's zero time. Raises Malformed where it cannot be read."""
    found = value_at(payload, path)
    if found is None or found == "":
        return None
    try:
        read = moment(found)
    except (ValueError, OverflowError):
        raise Malformed(f"{path}: is no time with a zone, nor a Unix time") from None
    return None if read.year == 1 else read


def moment(written: object) -> datetime:
    """A time as systems write it. Raises ValueError or OverflowError."""
    if isinstance(written, str):
        if _NUMBER.fullmatch(written):
            return _unix(float(written))
        return _calendar(written.strip())
    if isinstance(written, bool) or not isinstance(written, (int, float)):
        raise ValueError("no time")
    return _unix(float(written))


def _calendar(written: str) -> datetime:
    found = _TIME.fullmatch(written)
    if found is None:
        raise ValueError("no time with a zone")
    day, clock, fraction, _, hours, minutes = found.groups()
    zone = "+00:00" if found["utc"] else f"{hours}:{minutes}"
    return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0').ljust(6, '0')}{zone}").astimezone(UTC)


def _unix(number: float) -> datetime:
    if not 0 <= number < _LAST:
        raise ValueError("no Unix time")
    unit = next(unit for limit, unit in _UNITS if number < limit)
    return datetime.fromtimestamp(number / unit, UTC)


def ended(status: Status, at: datetime | None) -> datetime | None:
    """A time as that of a deployment's end, if the status is one of an end."""
    return at if status in FINISHED else None


def told(**values: object) -> dict[str, Any]:
    """Metadata without what was not told."""
    return {name: value for name, value in values.items() if value is not None}
