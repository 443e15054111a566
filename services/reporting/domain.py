"""What the words of the catalogue and of deployments are, and which states may follow each other. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from libs.common.clock import FUTURE_TOLERANCE
from libs.common.sealed import MASK

Lifecycle: TypeAlias = Literal["production", "experimental", "planned", "deprecated", "decommissioned"]
Tier: TypeAlias = Literal["production", "staging", "testing", "development", "other"]
Status: TypeAlias = Literal["PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK"]

# In the order in which reports show them.
LIFECYCLES: Final[tuple[Lifecycle, ...]] = get_args(Lifecycle)
# In the order in which they follow each other where they are told of one and the same moment.
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
FINISHED: Final[frozenset[Status]] = frozenset({"SUCCEEDED", "FAILED"})
# What somebody may say next of a deployment. A pipeline that runs again is another deployment.
NEXT: Final[Mapping[Status, tuple[Status, ...]]] = {
    "PENDING": ("IN_PROGRESS", "SUCCEEDED", "FAILED"),
    "IN_PROGRESS": ("SUCCEEDED", "FAILED", "ROLLED_BACK"),
    "SUCCEEDED": ("ROLLED_BACK",),
    "FAILED": ("ROLLED_BACK",),
    "ROLLED_BACK": (),
}
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECRETS: Final = frozenset(
    {
        *("accesskey", "accesstoken", "apikey", "authorization", "clientsecret", "credential", "credentials"),
        *("passphrase", "passwd", "password", "privatekey", "refreshtoken", "secret", "secretvalue", "token"),
        "webhooksecret",
    }
)


class Refused(ValueError):
    """A value that cannot be. `field` is its name in snake case; the text says the rule, never the value."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


def folded(ref: str) -> str:
    """A name as others may spell it: without blanks around it, in lower case."""
    return ref.strip().lower()


def believed(field: str, moment: datetime | None, now: datetime) -> datetime | None:
    """A told time: up to five minutes ahead is now. Raises Refused for what is later, or before 1970."""
    if moment is None:
        return None
    if moment > now + FUTURE_TOLERANCE:
        raise Refused(field, "is more than five minutes ahead")
    if moment < EARLIEST:
        raise Refused(field, "is before 1970")
    return min(moment, now).astimezone(UTC)


def check_order(started_at: datetime | None, finished_at: datetime | None) -> None:
    """Raises Refused where something finished before it started."""
    if started_at is not None and finished_at is not None and finished_at < started_at:
        raise Refused("finished_at", "is before started_at")


def allowed(current: Status, wanted: Status) -> bool:
    """Whether a deployment may go on to a status; to say the same again, with more facts, is always allowed."""
    return wanted == current or wanted in NEXT[current]


def holds_nul(value: object) -> bool:
    """Whether a text anywhere in a JSON value holds a NUL character, which the database cannot store."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(holds_nul(name) or holds_nul(inner) for name, inner in value.items())
    return isinstance(value, (list, tuple)) and any(holds_nul(inner) for inner in value)


def without_secrets(value: Any) -> Any:
    """A JSON value with a mask for each text whose name says that it is a secret, however deep it lies."""
    if isinstance(value, Mapping):
        return {name: _masked(str(name), inner) for name, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


def _masked(name: str, value: Any) -> Any:
    secret = name.lower().replace("_", "").replace("-", "") in _SECRETS
    return MASK if secret and isinstance(value, str) else without_secrets(value)


def texts(value: Any) -> set[str]:
    """All texts of a JSON value, as they stand in it."""
    if isinstance(value, Mapping):
        return {text for inner in value.values() for text in texts(inner)}
    if isinstance(value, list):
        return {text for inner in value for text in texts(inner)}
    return {value} if isinstance(value, str) else set()


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value in which each text that is one of these names is replaced."""
    if isinstance(value, Mapping):
        return {name: renamed(inner, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value
