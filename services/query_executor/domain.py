"""Pure rules: slugs, who asks, which secret a template means, limits, ids of usage records."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID, uuid5

from libs.common.auth import Principal
from libs.common.slugs import slug_of
from services.query_executor.drivers import Limits
from services.query_executor.drivers.source import Source
from services.query_executor.errors import SecretNotFound, SecretResolutionError
from services.query_executor.secret_types import SecretSettings
from services.query_executor.statement import Bound, Scalar

ConnectionType = Literal["external", "internal"]
PROFILE: Final = "user_profile"
EXECUTION_PREFIX: Final = "exec_"
CONNECTOR_TYPE: Final = "saved_queries"
# Words that stand in paths where a slug or key would.
RESERVED_QUERY_SLUGS: Final = frozenset({"validate"})
RESERVED_SECRET_KEYS: Final = frozenset({"types", PROFILE})
_LONGEST_SLUG: Final = 63
_SEPARATORS: Final = re.compile(r"[-.]")


def slugs_for(name: str, otherwise: str) -> Iterator[str]:
    """Slugs that a name may get, the best first: `daily-sales`, `daily-sales-2`, …"""
    base = slug_of(name) or otherwise
    yield base
    number = 2
    while True:
        suffix = f"-{number}"
        yield base[: _LONGEST_SLUG - len(suffix)].rstrip("-") + suffix
        number += 1


def free_slug(name: str, otherwise: str, taken: Collection[str]) -> str:
    """The first slug of a name that is not taken."""
    return next(slug for slug in slugs_for(name, otherwise) if slug not in taken)


def profile_of(caller: Principal) -> dict[str, Scalar]:
    """`secret.user_profile` from the caller's verified claims. An API key is its id and its name."""
    person = caller.actor_type == "user"
    return {
        "id": caller.subject,
        "username": caller.username,
        "email": caller.email if person else None,
        "first_name": caller.given_name if person else None,
        "last_name": caller.family_name if person else None,
        "is_staff": person and caller.is_staff,
        "is_superuser": person and caller.is_superuser,
    }


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The installation's limits and how far a secret may move them."""

    rows: int
    rows_ceiling: int
    bytes: int
    seconds: float
    seconds_ceiling: float

    def of(self, settings: SecretSettings, max_result_rows: int | None = None) -> Limits:
        """Limits of one execution; `max_result_rows` stands in the values of some secrets."""
        wanted = [rows for rows in (settings.max_result_rows, max_result_rows) if rows is not None]
        rows = min(wanted) if wanted else self.rows
        seconds = self.seconds if settings.timeout_seconds is None else settings.timeout_seconds
        return Limits(min(rows, self.rows_ceiling), self.bytes, min(seconds, self.seconds_ceiling))


def key_meant(name: str, keys: Collection[str]) -> str:
    """The key that a template's name stands for: itself, or the only one that is spelled so with underscores."""
    if name in keys:
        return name
    alike = [key for key in keys if _SEPARATORS.sub("_", key) == name]
    if len(alike) > 1:
        field = f"secret.{name}"
        message = f'{field} may be several secrets; write it as secret["{alike[0]}"]'
        raise SecretResolutionError(message, errors={"query_text": [message]})
    if not alike:
        raise SecretNotFound("query_text")
    return alike[0]


def scalar_at(value: Any, path: tuple[str, ...], shown: str) -> Scalar:
    """What a reference means in a secret's value. A bare one means the value itself, or its only field."""
    found = value
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            raise _reference(f"{shown} names no field of the secret")
        found = found[name]
    while isinstance(found, Mapping) and len(found) == 1:
        found = next(iter(found.values()))
    if isinstance(found, Mapping):
        raise _reference(
            f"{shown} is an object of several fields; name one of them, such as {shown}.{next(iter(found))}"
        )
    scalar: Scalar = found
    return scalar


def _reference(message: str) -> SecretResolutionError:
    return SecretResolutionError(message, errors={"query_text": [message]})


def shown_path(path: tuple[str, ...]) -> str:
    """A reference as an author writes it."""
    return ".".join(("secret", *path))


def execution_key(execution: UUID) -> str:
    """The public name of an execution."""
    return EXECUTION_PREFIX + execution.hex


def saved_queries_connector(source: UUID) -> UUID:
    """Id of the connector under which executions count as usage: one a secret, one a tenant for internal queries."""
    return uuid5(source, CONNECTOR_TYPE)


def same_result(query: UUID, version: int, source: Source, bound: Bound, limits: Limits) -> str:
    """What two executions have in common that a server would answer alike at one moment.

    It holds every value that is bound, the user's profile and secrets among them: it must not be kept as it is.
    """
    values = [(bind.value, type(bind.value).__name__, bind.cast, bind.quoted) for bind in bound.binds]
    where = (str(source.secret_id), source.version, limits.rows, limits.bytes)
    return repr((str(query), version, where, bound.parts, values, bound.body))
