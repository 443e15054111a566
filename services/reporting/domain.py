"""What the words of the catalogue and of deployments are, and which states may follow each other. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

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
_TIERS: Final[Mapping[Tier, frozenset[str]]] = {
    "staging": frozenset({"staging", "stage", "stg", "preprod", "pre", "uat", "acceptance", "canary", "demo"}),
    "testing": frozenset({"testing", "test", "tests", "qa", "qc", "ci", "integration"}),
    "development": frozenset({"development", "develop", "dev", "local", "sandbox", "preview", "review"}),
    "production": frozenset({"production", "prod", "prd", "live", "main"}),
}
_SECRETS: Final = frozenset(
    {
        *("accesskey", "accesstoken", "apikey", "authorization", "clientsecret", "credential", "credentials"),
        *("passphrase", "passwd", "password", "privatekey", "refreshtoken", "secret", "secretvalue", "token"),
        "webhooksecret",
    }
)


def folded(ref: str) -> str:
    """A name as others may spell it: without blanks around it, in lower case."""
    return ref.strip().lower()


def clamped(moment: datetime | None, now: datetime) -> datetime | None:
    """A told time in UTC; one that lies ahead is now."""
    return None if moment is None else min(moment, now).astimezone(UTC)


def tier_of(name: str) -> Tier:
    """What an environment is for, as far as its name tells."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((tier for tier, known in _TIERS.items() if words & known), "other")


def allowed(current: Status, wanted: Status) -> bool:
    """Whether a deployment may go on to a status; to say the same again, with more facts, is always allowed."""
    return wanted == current or wanted in NEXT[current]


def parked_reason(component_ref: str | None, environment_ref: str | None) -> str:
    """Why a state waits: what of its place nobody has made yet."""
    unknown = {"component": component_ref, "environment": environment_ref}
    named = ", ".join(f'unknown {kind} "{ref}"' for kind, ref in unknown.items() if ref is not None)
    return named or "known by now, applied within seconds"


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
