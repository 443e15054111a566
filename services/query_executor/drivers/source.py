"""What a driver is made from."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from services.query_executor.drivers import Driver
from services.query_executor.secret_types import Connection, SecretSettings
from services.query_executor.statement import Engine

# From a host that a user typed to the address that may be dialled. Raises TidemarkError.
Resolve = Callable[[str, int], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Source:
    """One version of one secret, opened; for the tenant's own schema `secret_id` is the tenant."""

    engine: Engine
    tenant: UUID
    secret_id: UUID
    version: int
    connection: Connection | None = field(repr=False)  # None: the tenant's own schema
    settings: SecretSettings


@dataclass(frozen=True, slots=True)
class Pooling:
    """How many connections a driver keeps, and an unused one for how many seconds."""

    connections: int
    idle_seconds: float


Make = Callable[[Source], Driver]
