"""Use cases of connections: what a secret's login can see, and whether it works and is as harmless as it should be."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.db import Database
from libs.common.egress import EgressPolicy
from libs.common.errors import NotFound, TidemarkError
from services.query_executor.drivers import Column, Limits, Row, catalogue
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Source
from services.query_executor.errors import QueryError
from services.query_executor.redact import Redactor
from services.query_executor.secret_types import ElasticsearchConnection
from services.query_executor.service.execution import without_secrets
from services.query_executor.service.sources import Sources
from services.query_executor.statement import Bound
from services.query_executor.store import apps as apps_store
from services.query_executor.store import secrets as secrets_store

_LIMITS: Final = Limits(rows=20_000, bytes=10 * 1024 * 1024, seconds=15.0)
_READ_ONLY: Final = "Use a login of its own with no rights but to read; queries stay read-only all the same."


@dataclass(frozen=True, slots=True)
class SchemaColumn:
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class SchemaTable:
    """A table or an index pattern. `schema` is null where the server has none."""

    schema: str | None
    name: str
    columns: tuple[SchemaColumn, ...]


@dataclass(frozen=True, slots=True)
class CheckStep:
    """What was tried, how it went, what would repair it. A `warning` went well, and should be otherwise."""

    step: str
    ok: bool
    detail: str
    fix: str | None = None
    warning: bool = False


class Inspection:
    """Asks servers about themselves, by the drivers and limits of executions."""

    def __init__(self, database: Database, sources: Sources, drivers: Drivers, egress: EgressPolicy) -> None:
        self._database = database
        self._sources = sources
        self._drivers = drivers
        self._egress = egress

    async def _source(self, tenant: UUID, app_slug: str, key: str) -> Source:
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            secret = await secrets_store.find_secret(connection, tenant, app.id, key)
            if secret is None:
                raise NotFound("Secret not found")
            has_type = await apps_store.has_type(connection, tenant, secret.type_slug)
        return self._sources.of(tenant, "external", secret, has_type=has_type)

    async def schema(self, tenant: UUID, app_slug: str, key: str) -> tuple[list[SchemaTable], bool]:
        """Tables that the login may read, by name, and whether there may be more. Raises as an execution.

        Of a search engine, whose _search alone is called: the fields of some documents.
        """
        source = await self._source(tenant, app_slug, key)
        found, rows = await self._rows(source, catalogue.columns(source.engine))
        if isinstance(source.connection, ElasticsearchConnection):
            fields = tuple(SchemaColumn(column.name, column.type) for column in found if column.name != "_id")
            return [SchemaTable(None, source.connection.index, fields)], True
        return _tables(rows[: _LIMITS.rows]), len(rows) > _LIMITS.rows

    async def check(self, tenant: UUID, app_slug: str, key: str) -> list[CheckStep]:
        """Step by step up to the first that fails."""
        source = await self._source(tenant, app_slug, key)
        return [step async for step in self._steps(source)]

    async def _steps(self, source: Source) -> AsyncIterator[CheckStep]:
        assert source.connection is not None
        host, port = source.connection.target
        try:
            address = await self._egress.address_of(host, port)
            yield CheckStep("resolve host", True, f"{host} is {address}")
            _, rows = await self._rows(source, catalogue.smallest(source.engine))
            yield CheckStep("connect and read", True, f"logged in, {len(rows)} row read")
        except TidemarkError as error:
            failed = "resolve host" if not isinstance(error, QueryError) else "connect and read"
            yield CheckStep(failed, False, error.detail, error.detail)
            return
        yield await self._rights(source)

    async def _rights(self, source: Source) -> CheckStep:
        """A login that may write is told; its statements are held back by other means."""
        asked = catalogue.rights(source.engine)
        if asked is None:
            return CheckStep("rights", True, "not looked at: only _search is ever called")
        try:
            _, rows = await self._rows(source, asked)
        except TidemarkError as error:
            return CheckStep("rights", True, f"cannot be seen: {error.detail}", warning=True)
        administrator, writable = (int(value or 0) for value in rows[0][:2])
        if administrator:
            return CheckStep("rights", True, "the login is an administrator", _READ_ONLY, warning=True)
        if writable:
            return CheckStep("rights", True, "the login may write", _READ_ONLY, warning=True)
        return CheckStep("rights", True, "the login may only read")

    async def _rows(self, source: Source, bound: Bound) -> tuple[Sequence[Column], list[Row]]:
        redactor = Redactor.of(source.connection.secrets if source.connection else ())
        found = list[Row]()
        try:
            async with self._drivers.lease(source) as driver, driver.run(bound, _LIMITS) as rows:
                while batch := await rows.batch():
                    found += batch
                return rows.columns, found
        except QueryError as error:
            raise without_secrets(error, redactor) from None


def _tables(rows: Sequence[Row]) -> list[SchemaTable]:
    """Rows of schema, table, column and type, sorted by tables."""
    found: dict[tuple[str, str], list[SchemaColumn]] = {}
    for row in rows:
        schema, table, column, kind = (str(value) for value in row[:4])
        found.setdefault((schema, table), []).append(SchemaColumn(column, kind))
    return [SchemaTable(schema, table, tuple(columns)) for (schema, table), columns in found.items()]
