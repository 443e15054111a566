"""Through what a query runs: its secret opened, or the tenant's own schema."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from libs.common.remembered import Remembered
from services.query_executor.domain import ConnectionType, LimitRules
from services.query_executor.drivers import Limits
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Source
from services.query_executor.errors import (
    DriverNotSupported,
    SecretNotFound,
    SecretTypeNotFound,
    UnsupportedDatasource,
)
from services.query_executor.guard import Policy
from services.query_executor.secret_types import (
    BY_SLUG,
    Connection,
    ElasticsearchConnection,
    SecretSettings,
    is_connection,
)
from services.query_executor.statement import Engine
from services.query_executor.store.secrets import Secret
from services.query_executor.vault import Vault

# As long as a connection that nobody uses is kept open with it.
_OPENED_SECONDS: Final = 60.0
_MOST_OPENED: Final = 500
# The tables of a tenant's own schema.
TenantTables = Callable[[UUID], Awaitable[frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Opens secrets for drivers, and says what a statement may do there."""

    vault: Vault
    drivers: Drivers
    rules: LimitRules
    tenant_tables: TenantTables | None = None
    _opened: Remembered[UUID, tuple[UUID, Secret, Source]] = field(
        default_factory=lambda: Remembered(most=_MOST_OPENED), repr=False, compare=False
    )

    def of(self, tenant: UUID, connection_type: ConnectionType, secret: Secret | None, *, has_type: bool) -> Source:
        """Raises the setup errors of the specification, in its order: secret, type, datasource, driver."""
        if connection_type == "internal":
            return Source(Engine.INTERNAL, tenant, tenant, 0, None, SecretSettings())
        if secret is None:
            raise SecretNotFound
        if not has_type:
            raise SecretTypeNotFound
        if not is_connection(secret.type_slug):
            raise UnsupportedDatasource
        known = BY_SLUG.get(secret.type_slug)
        if known is None:
            raise DriverNotSupported
        opened = self._opened.get(secret.id)
        if opened is not None and opened[:2] == (tenant, secret):
            return opened[2]
        connection = self.vault.opened(tenant, secret)
        assert isinstance(connection, Connection)
        settings = SecretSettings.model_validate(secret.settings)
        source = Source(known.engine, tenant, secret.id, secret.version, connection, settings)
        self._opened.put(secret.id, (tenant, secret, source), _OPENED_SECONDS)
        return source

    def limits(self, source: Source) -> Limits:
        own = source.connection.max_result_rows if isinstance(source.connection, ElasticsearchConnection) else None
        return self.rules.of(source.settings, own)

    async def policy(self, source: Source) -> Policy:
        """What the guard lets through."""
        index = source.connection.index if isinstance(source.connection, ElasticsearchConnection) else None
        tables = None
        if source.engine is Engine.INTERNAL and self.tenant_tables is not None:
            tables = await self.tenant_tables(source.tenant)
        functions = frozenset(name.lower() for name in source.settings.allow_functions)
        return Policy(functions=functions, tenant_tables=tables, index=index, max_rows=self.limits(source).rows)
