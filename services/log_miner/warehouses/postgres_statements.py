"""Reading pg_stat_statements: what it takes, one snapshot, and the executions since the one before."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from libs.common.connectors import PostgresSettings
from libs.common.db import Connection
from libs.common.sql import DefaultNames, Dialect
from services.log_miner.warehouses.interface import Batch, Cursor, Execution, Step
from services.log_miner.warehouses.postgres_errors import named_failures
from services.log_miner.warehouses.postgres_lines import is_tagged, is_usage, prepared_text
from services.log_miner.warehouses.statement_counts import (
    Counted,
    Moment,
    Part,
    Snapshot,
    Statement,
    compare,
    parts_of,
    warnings,
)

READ_RIGHT: Final = "pg_read_all_stats"
_BATCH = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READS = 3
_FIRST_VERSION, _FIRST_WITH_TOPLEVEL = 130000, 140000

_STATE = """SELECT /* tidemark checks pg_stat_statements */
       current_setting('server_version_num')::int AS version, quote_ident(current_user) AS role,
       quote_ident(current_database()) AS database, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       current_setting('pg_stat_statements.track', true) AS track, current_setting('compute_query_id', true) AS ids,
       (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements') AS schema"""
_COLUMNS = """SELECT /* tidemark checks pg_stat_statements */
    attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"""
_MOMENT = """SELECT /* tidemark reads pg_stat_statements */
    {identity} || '/' || d.oid AS server, statement_timestamp() AS taken_at, i.reset_at, i.evicted
FROM pg_database d, (SELECT {reset_at} AS reset_at, {evicted} AS evicted {info}) AS i
WHERE d.datname = current_database()"""
# Only what users sent: statements inside functions and checks of foreign keys are none of their doing.
_ROWS = """SELECT /* tidemark reads pg_stat_statements */
    s.userid::int8, s.queryid, r.rolname::text, s.query, s.calls, {since} AS since
FROM {schema}.pg_stat_statements s LEFT JOIN pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) {toplevel}"""
_PROBE = "SELECT /* tidemark reads pg_stat_statements */ count(*) FROM {schema}.pg_stat_statements"
_IDENTITY = "SELECT /* tidemark checks rights */ has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"


@dataclass(frozen=True, slots=True)
class View:
    """The view as this server has it. `schema` is quoted for SQL."""

    schema: str
    columns: frozenset[str]
    identified: bool

    @property
    def moment(self) -> str:
        """The statement that says when, where and how full the counters are."""
        known = "toplevel" in self.columns  # came together with the view of resets, in 14
        return _MOMENT.format(
            identity="(SELECT system_identifier FROM pg_control_system())" if self.identified else "''",
            reset_at="stats_reset" if known else "NULL::timestamptz",
            evicted="dealloc" if known else "NULL::int8",
            info=f"FROM {self.schema}.pg_stat_statements_info" if known else "",
        )

    @property
    def rows(self) -> str:
        """The statement that reads all rows of this database."""
        return _ROWS.format(
            schema=self.schema,
            since="s.stats_since" if "stats_since" in self.columns else "NULL::timestamptz",
            toplevel="AND s.toplevel" if "toplevel" in self.columns else "",
        )


async def statement_steps(connection: Connection) -> tuple[View | None, list[Step]]:
    """What reading pg_stat_statements takes, step by step, and the view where it can be read at all."""
    state = await connection.fetchrow(_STATE)
    assert state is not None
    schema, version = state["schema"], state["version"]
    steps = [_version(version)]
    if not steps[0].ok:
        return None, steps
    steps.append(_extension(schema, state["database"]))
    if schema is None:
        return None, steps
    loaded = await _loaded(connection, schema, state["role"])
    steps.append(loaded)
    if not loaded.ok:
        return None, steps
    columns = frozenset(row[0] for row in await connection.fetch(_COLUMNS, f"{schema}.pg_stat_statements"))
    if version >= _FIRST_WITH_TOPLEVEL and "toplevel" not in columns:
        steps.append(_old_extension(state["database"]))
        return None, steps
    steps += [_sees_all(state["sees_all"], state["role"]), _tracks(state["track"]), _has_ids(state["ids"])]
    return View(schema, columns, await connection.fetchval(_IDENTITY)), steps


def _version(number: int) -> Step:
    major = f"{number // 10000}.{number % 10000}" if number >= 100000 else str(number)
    detail = f"The server is Postgres {major}"
    if number >= _FIRST_VERSION:
        return Step("server version", True, detail)
    fix = "Upgrade the server, or set mode to csvlog."
    return Step("server version", False, f"{detail}; pg_stat_statements is read from Postgres 13 on.", fix)


def _extension(schema: str | None, database: str) -> Step:
    if schema:
        return Step("find pg_stat_statements", True, f"the extension is in schema {schema}")
    detail = f"The extension pg_stat_statements is not installed in database {database}."
    return Step("find pg_stat_statements", False, detail, f"CREATE EXTENSION pg_stat_statements; (in {database})")


def _old_extension(database: str) -> Step:
    detail = "The extension pg_stat_statements is older than the server and does not tell nested statements apart."
    fix = f"ALTER EXTENSION pg_stat_statements UPDATE; (in {database})"
    return Step("update pg_stat_statements", False, detail, fix)


async def _loaded(connection: Connection, schema: str, role: str) -> Step:
    step = "load pg_stat_statements"
    try:
        await connection.fetchval(_PROBE.format(schema=schema))
    except asyncpg.ObjectNotInPrerequisiteStateError:
        fix = "Add pg_stat_statements to shared_preload_libraries, then restart the server."
        return Step(step, False, "The server has not loaded pg_stat_statements (shared_preload_libraries).", fix)
    except asyncpg.InsufficientPrivilegeError:
        fix = f"GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {schema}.pg_stat_statements TO {role};"
        return Step(step, False, f"No right to read {schema}.pg_stat_statements.", fix)
    return Step(step, True, "pg_stat_statements is loaded and answers")


def _sees_all(has: bool, role: str) -> Step:
    if has:
        return Step("see statements of all roles", True, f"{READ_RIGHT} is granted")
    detail = f"Without {READ_RIGHT} the statements of other roles are not shown."
    return Step("see statements of all roles", False, detail, f"GRANT {READ_RIGHT} TO {role};")


def _tracks(track: str | None) -> Step:
    step, detail = "setting pg_stat_statements.track", f"pg_stat_statements.track is {track!r}"
    if track == "none":
        return Step(step, False, detail, "Set pg_stat_statements.track = 'top', then reload.")
    return Step(step, True, detail)


def _has_ids(ids: str | None) -> Step:
    step, detail = "setting compute_query_id", f"compute_query_id is {ids!r}"
    if ids == "off":
        return Step(step, False, detail, "Set compute_query_id = auto, then reload: without ids nothing is counted.")
    return Step(step, True, detail)


async def take_snapshot(connection: Connection, view: View) -> Snapshot:
    """All rows of this database. Read again where a reset came in between."""
    for _ in range(_READS):
        moment = await _moment(connection, view)
        rows = await connection.fetch(view.rows)
        if (await _moment(connection, view)).reset_at == moment.reset_at:
            break
    shown = tuple(Statement(*row) for row in rows if row["queryid"] is not None)
    hidden = len(rows) - len(shown)
    return Snapshot(replace(moment, hidden=hidden), shown)


async def _moment(connection: Connection, view: View) -> Moment:
    row = await connection.fetchrow(view.moment)
    assert row is not None
    return Moment(row["server"], row["taken_at"], row["reset_at"], row["evicted"])


@dataclass(slots=True)
class OpenStatements:
    """A logged-in session over the counters of one database. `remarks` become warnings of the job."""

    settings: PostgresSettings
    connection: Connection
    view: View
    remarks: tuple[str, ...] = ()
    dialect: Dialect = Dialect.POSTGRES

    @property
    def defaults(self) -> DefaultNames:
        """Names are completed by the connector's database and search path."""
        return DefaultNames(self.settings.database, self.settings.default_schemas)

    async def batches(self, cursor: Cursor, since: datetime | None) -> AsyncGenerator[Batch, None]:
        """See OpenWarehouse. One snapshot; how far back is not for us to choose."""
        known = parts_of(cursor)
        with named_failures(self.settings):
            snapshot = await take_snapshot(self.connection, self.view)
        parts = await asyncio.to_thread(compare, snapshot, known)
        said = self.remarks + warnings(parts, known, snapshot.moment) + _without_text(parts)
        done = 0
        for group in _groups(parts):
            done += len(group)
            found = await asyncio.to_thread(self._executions, group, snapshot.moment.taken_at)
            yield Batch(
                executions=found,
                lines_read=sum(part.rows for part in group),
                cursor={part.name: part.known.position() for part in group},
                progress=done / len(parts),
                warnings=said,
            )

    def _executions(self, parts: Sequence[Part], at: datetime) -> tuple[Execution, ...]:
        excluded = frozenset(self.settings.exclude_users)
        counted = (each for part in parts for each in part.counted if each.statement.user not in excluded)
        return tuple(execution for each in counted if (execution := _execution(each, at)))


def _execution(counted: Counted, at: datetime) -> Execution | None:
    """None for what is no usage. The id is the same however often this snapshot's row is sent."""
    statement = counted.statement
    text = prepared_text(statement.text or "")
    if not text or is_tagged(text) or not is_usage("", text):
        return None
    resource = f"{statement.key}:{(at - _EPOCH) // timedelta(microseconds=1)}"
    return Execution(resource, text, statement.user, at, counted.executions, own_comment=False)


def _without_text(parts: Sequence[Part]) -> tuple[str, ...]:
    lost = sum(each.statement.text is None for part in parts for each in part.counted)
    return (f"{lost} statements have lost their text on the server and were left out",) if lost else ()


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts put together up to a batch's size: a small server needs one transaction."""
    group: list[Part] = []
    for part in parts:
        if group and sum(len(each.counted) for each in group) + len(part.counted) > _BATCH:
            yield group
            group = []
        group.append(part)
    yield group
