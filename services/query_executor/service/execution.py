"""The use case of an execution: look up, resolve, prove, bind, run, redact, record."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from opentelemetry import trace

from libs.common.auth import Principal
from libs.common.db import Database
from libs.common.errors import TidemarkError
from libs.common.failures import describe
from services.query_executor.collect import Collected
from services.query_executor.domain import key_meant, profile_of, same_result, scalar_at, shown_path
from services.query_executor.drivers import Driver, Limits
from services.query_executor.drivers.confirmed import Confirmed
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Source
from services.query_executor.envelope import code_name
from services.query_executor.errors import QueryError, SecretResolutionError, TenantSchemaRequired
from services.query_executor.metrics import QueryMetrics
from services.query_executor.preparation import aside, compiled, given, prepare, referenced
from services.query_executor.redact import Redactor
from services.query_executor.secret_types import is_connection
from services.query_executor.service.lookups import Changed, Lookups
from services.query_executor.service.recording import Outcome, Recording, Run
from services.query_executor.service.results import ResultStore
from services.query_executor.service.sources import Sources
from services.query_executor.statement import Bound, Scalar
from services.query_executor.store import secrets as secrets_store
from services.query_executor.store.executions import Runnable
from services.query_executor.template import Template, Values

_REDACTORS: Final = 256
_tracer = trace.get_tracer("tidemark.query_executor")
_log = structlog.get_logger()
Path = tuple[str, ...]
# Whether whoever runs an execution will run it again after such an end, so that it is not on record as its last.
Again = Callable[[BaseException], bool]


def never(_error: BaseException) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Ready:
    """A statement, where it runs, and what must not be seen of it."""

    source: Source
    bound: Bound
    redactor: Redactor = field(repr=False)


class Reader(Protocol):
    """Takes a result; what it says of itself is recorded, also of a result that breaks off."""

    rows: int
    truncated: bool

    async def read(self, driver: Driver, bound: Bound, limits: Limits, redactor: Redactor) -> None:
        """Run the statement and take its rows up to the limits, without secrets."""


Read = Callable[[Run, Ready], Awaitable[None]]


@lru_cache(_REDACTORS)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    return Redactor.of(secrets)


class Executions:
    """Runs saved queries."""

    def __init__(
        self, database: Database, sources: Sources, drivers: Drivers, recording: Recording, results: ResultStore,
        metrics: QueryMetrics,
    ) -> None:  # fmt: skip
        self._database = database
        self._lookups = Lookups(database)
        self._sources = sources
        self._drivers = drivers
        self._recording = recording
        self._results = results
        self._metrics = metrics

    async def execute(
        self, caller: Principal, app_slug: str, slug: str, params: Mapping[str, Any], execution: UUID,
        *, max_age: float | None = None, again: Again = never,
    ) -> tuple[str, Collected]:  # fmt: skip
        """The execution's key and its rows, kept ones of at most `max_age` seconds.

        Raises the four errors of the API, 404, 503.
        """
        found = Collected()

        async def read(run: Run, ready: Ready) -> None:
            await self._reused(run, ready, found, max_age)

        return await self._executed(caller, app_slug, slug, execution, params, found, read, again), found

    async def execute_into(
        self, reader: Reader, caller: Principal, app_slug: str, slug: str, params: Mapping[str, Any], execution: UUID
    ) -> str:
        """Give the rows to `reader`; the execution's key once all is on record. Raises as `execute` does."""

        async def read(run: Run, ready: Ready) -> None:
            await run.lookup.confirm()
            await self._run(run, ready, reader)

        return await self._executed(caller, app_slug, slug, execution, params, reader, read, never)

    async def check(
        self, caller: Principal, app_slug: str, slug: str, params: Mapping[str, Any], execution: UUID
    ) -> Runnable:
        """All that can be said before anything reaches a server. Raises as `execute`."""
        run = await self._begun(caller, app_slug, slug, execution)
        await self._ready(run, params)
        return run.runnable

    async def find(
        self, caller: Principal, app_slug: str, slug: str, _params: Mapping[str, Any], execution: UUID
    ) -> Runnable:
        """What would be run, unchecked. Raises 404."""
        return (await self._begun(caller, app_slug, slug, execution)).runnable

    async def _begun(self, caller: Principal, app_slug: str, slug: str, execution: UUID) -> Run:
        tenant = _tenant(caller)
        return self._recording.begin(
            execution, tenant, caller, app_slug, await self._lookups.of(tenant, app_slug, slug)
        )

    async def _executed(
        self, caller: Principal, app_slug: str, slug: str, execution: UUID, params: Mapping[str, Any], reader: Reader,
        read: Read, again: Again,
    ) -> str:  # fmt: skip
        """What was run lately is made ready while it is looked up; once more where it has changed."""
        tenant = _tenant(caller)
        async with self._lookups.begun(tenant, app_slug, slug) as lookup:
            run = self._recording.begin(execution, tenant, caller, app_slug, lookup)
            try:
                await self._recorded(run, params, reader, read, again)
                return run.key
            except Changed as changed:
                run = self._recording.begin(execution, tenant, caller, app_slug, changed.lookup)
        await self._recorded(run, params, reader, read, again)
        return run.key

    async def _recorded(self, run: Run, params: Mapping[str, Any], reader: Reader, read: Read, again: Again) -> None:
        """Whatever the end, it is on record, unless it is to be run again, or is the end of what nobody asked for."""
        try:
            ready = await self._ready(run, params)
            self._recording.draft(run, ready.source, ready.bound)
            await read(run, ready)
        except asyncio.CancelledError as error:
            if run.lookup.confirmed and not again(error):
                self._metrics.observe(run.milliseconds, "Cancelled")
                await self._recording.cancelled(run, reader.rows)
            raise
        except Exception as error:
            await run.lookup.confirm()
            if not again(error):
                code = code_name(error.code) if isinstance(error, TidemarkError) else "InternalError"
                await self._failed(run, code, reader.rows)
            raise
        outcome = Outcome("completed", reader.rows, reader.truncated)
        await self._recording.completed(run, outcome, ready.source, ready.bound)
        self._metrics.observe(run.milliseconds, "none")

    async def _failed(self, run: Run, code: str, rows: int) -> None:
        """That it cannot be written down must not hide why it failed."""
        self._metrics.observe(run.milliseconds, code)
        try:
            await self._recording.failed(run, code, rows)
        except Exception as error:
            _log.warning("a failed execution is not on record", execution=run.key, error=describe(error))

    async def _ready(self, run: Run, params: Mapping[str, Any]) -> Ready:
        query, secret = run.runnable.query, run.runnable.secret
        source = self._sources.of(run.tenant, query.connection_type, secret, has_type=run.runnable.has_type)
        template = await aside(query.query_text, lambda: compiled(query.query_text, source.engine))
        parameters = given(template, query.parameters, params)
        used = await self._secrets(run, template)
        hidden = (*(source.connection.secrets if source.connection else ()), *(str(value) for value in used.values()))
        redactor = _redactor(hidden)
        values = Values(parameters=parameters, secrets=used, profile=profile_of(run.caller))
        try:
            policy = await self._sources.policy(source)
            bound, _ = await aside(query.query_text, lambda: prepare(template, values, policy))
        except QueryError as error:
            raise without_secrets(error, redactor) from None
        return Ready(source, bound, redactor)

    async def _secrets(self, run: Run, template: Template) -> dict[Path, Scalar]:
        """What the template's references mean. Raises SecretResolutionError."""
        paths = referenced(template)
        if not paths:
            return {}
        await run.lookup.confirm()
        async with self._database.tenant(run.tenant) as connection:
            types = await secrets_store.secret_types_by_key(connection, run.tenant, run.runnable.app_id)
            keys = {path: key_meant(path[0], types.keys()) for path in paths}
            _check_types(keys.values(), types)
            app, wanted = run.runnable.app_id, set(keys.values())
            found = await secrets_store.secrets_by_keys(connection, run.tenant, app, wanted)
        opened = {secret.key: self._sources.vault.opened(run.tenant, secret) for secret in found}
        return {path: scalar_at(opened[key], path[1:], shown_path(path)) for path, key in keys.items()}

    async def _reused(self, run: Run, ready: Ready, found: Collected, max_age: float | None) -> None:
        """An earlier result that is young enough, else a new one, which is kept for the next."""
        if max_age is None:
            await self._run(run, ready, found)
            return
        await run.lookup.confirm()
        query, limits = run.runnable.query, self._sources.limits(ready.source)
        same = same_result(query.id, query.version, ready.source, ready.bound, limits)
        key = self._sources.vault.digest(run.tenant, same)
        if not await self._results.take_cached(run.tenant, key, max_age, found):
            await self._run(run, ready, found)
            await self._results.remember(run.tenant, run.id, query.id, found, key)

    async def _run(self, run: Run, ready: Ready, reader: Reader) -> None:
        limits, source, lookup = self._sources.limits(ready.source), ready.source, run.lookup
        if not self._drivers.has_idle(source):
            await lookup.confirm()
        facts = {"db.system.name": source.engine.value, "tidemark.execution": run.key}
        with _tracer.start_as_current_span("run statement", attributes=facts, record_exception=False) as span:
            try:
                async with self._drivers.lease(source) as driver:
                    sure = driver if lookup.confirmed else Confirmed(driver, lookup)
                    await reader.read(sure, ready.bound, limits, ready.redactor)
            except QueryError as error:
                raise without_secrets(error, ready.redactor) from None
            span.set_attribute("db.response.returned_rows", reader.rows)


def _tenant(caller: Principal) -> UUID:
    if caller.tenant is None:
        raise TenantSchemaRequired
    return caller.tenant


def _check_types(keys: Collection[str], types: Mapping[str, str]) -> None:
    for key in keys:
        if is_connection(types[key]):
            message = f"The secret {key} opens a connection and cannot be used in a template."
            raise SecretResolutionError(message, errors={"query_text": [message]})


def without_secrets(error: QueryError, redactor: Redactor) -> QueryError:
    """The error, its texts scanned."""
    error.detail = redactor.in_text(error.detail)
    error.args = (error.detail,)
    error.errors = redactor.value(error.errors)
    error.details = redactor.value(error.details)
    return error
