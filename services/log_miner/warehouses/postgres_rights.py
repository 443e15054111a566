"""What reading the log takes: rights and settings, each with the statement that grants it."""

import asyncpg

from libs.common.connectors import PostgresSettings
from libs.common.db import Connection
from services.log_miner.warehouses.interface import Step, WarehouseError
from services.log_miner.warehouses.postgres_errors import warehouse_error

READ_FUNCTION = "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)"

_FILE_RIGHTS = """SELECT /* tidemark checks rights */
    has_function_privilege('pg_catalog.pg_ls_logdir()', 'EXECUTE') AS list_files,
       pg_has_role(current_user, 'pg_read_all_settings', 'USAGE') AS see_directory,
       has_function_privilege('pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE') AS read_file,
       quote_ident(current_user) AS role"""
_TABLE_RIGHTS = """SELECT /* tidemark checks rights */
    to_regclass($1) IS NOT NULL AS known, has_table_privilege(to_regclass($1)::oid, 'SELECT') AS may_read"""
_ROLE = "SELECT /* tidemark checks rights */ quote_ident(current_user)"
_SETTINGS = """SELECT /* tidemark checks settings */
    name, setting, source FROM pg_settings
WHERE name IN ('logging_collector', 'log_destination', 'log_min_duration_statement', 'log_statement', 'lc_messages')"""
_PROBE_FILE = """SELECT /* tidemark reads the log */
    length(pg_read_binary_file(current_setting('log_directory') || '/' || name, 0, 1, true))
FROM (SELECT name FROM pg_ls_logdir() WHERE name LIKE '%.csv' ORDER BY modification DESC LIMIT 1) AS newest"""
# The name of a table is no parameter; this function takes it as text, quoted by the server.
_PROBE_TABLE = """SELECT /* tidemark reads the log */
    query_to_xml('SELECT 1 FROM ' || to_regclass($1) || ' LIMIT 1', true, false, '')::text"""
_TABLE_RECIPE = (
    "Set log_table to a foreign table of file_fdw over the csvlog (see the documentation of file_fdw, which has the"
    " columns), and grant SELECT on it."
)


async def file_rights(connection: Connection) -> list[Step]:
    """Each right that pg_read_file mode needs."""
    row = await connection.fetchrow(_FILE_RIGHTS)
    assert row is not None
    role = row["role"]
    monitor = f"GRANT pg_monitor TO {role};"
    return [
        _right("list log files", row["list_files"], "pg_ls_logdir()", monitor),
        _right("see log directory", row["see_directory"], "the setting log_directory", monitor),
        _right(
            "read log files",
            row["read_file"],
            READ_FUNCTION,
            f"GRANT EXECUTE ON FUNCTION {READ_FUNCTION} TO {role}; (in this database)",
        ),
    ]


def _right(step: str, has: bool, what: str, grant: str) -> Step:
    return Step(step, True, f"{what} may be used") if has else Step(step, False, f"No right to use {what}.", grant)


async def table_rights(connection: Connection, table: str | None) -> list[Step]:
    """Each right that file_fdw mode needs."""
    if not table:
        return [Step("find log table", False, "No log_table is set.", _TABLE_RECIPE)]
    role: str = await connection.fetchval(_ROLE)
    try:
        row = await connection.fetchrow(_TABLE_RIGHTS, table)
    except asyncpg.InsufficientPrivilegeError:
        schema = table.partition(".")[0]
        return [_right("find log table", False, f"the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {role};")]
    except asyncpg.PostgresError:
        return [Step("find log table", False, f"{table} is no name of a table.", _TABLE_RECIPE)]
    assert row is not None
    if not row["known"]:
        return [Step("find log table", False, f"There is no table {table}.", _TABLE_RECIPE)]
    found = Step("find log table", True, f"{table} is there")
    return [found, _right("read log table", row["may_read"], table, f"GRANT SELECT ON {table} TO {role};")]


async def usable_reader(connection: Connection, settings: PostgresSettings) -> tuple[str, list[Step]]:
    """The way of reading that the rights allow, and what was found; `auto` tries the files, then the table.

    The last step is not ok where no way is open.
    """
    if settings.log_reader == "file_fdw":
        return "file_fdw", await table_rights(connection, settings.log_table)
    steps = await file_rights(connection)
    if settings.log_reader == "auto" and settings.log_table and not all(step.ok for step in steps):
        return "file_fdw", await table_rights(connection, settings.log_table)
    return "pg_read_file", steps


async def log_settings(connection: Connection) -> list[Step]:
    """Whether the server writes a log that can be mined."""
    rows = {row["name"]: row for row in await connection.fetch(_SETTINGS)}
    value = {name: row["setting"] for name, row in rows.items()}
    return [
        _setting(
            "logging_collector", value["logging_collector"] == "on", value, "logging_collector = on (needs a restart)"
        ),
        _setting(
            "log_destination", "csvlog" in value["log_destination"], value, "log_destination = 'csvlog', then reload"
        ),
        _statements(value, str(rows["log_min_duration_statement"]["source"])),
        _setting(
            "lc_messages",
            _is_english(value["lc_messages"]),
            value,
            "lc_messages = 'C', then reload: the log's lines are recognised by their English words",
        ),
    ]


def _setting(name: str, good: bool, value: dict[str, str], fix: str) -> Step:
    return Step(f"setting {name}", good, f"{name} is {value[name]!r}", None if good else f"Set {fix}.")


def _is_english(locale: str) -> bool:
    return locale in ("", "C", "POSIX") or locale.lower().startswith(("en", "c."))


def _statements(value: dict[str, str], source: str) -> Step:
    """All statements are logged. A value set for the connector's own role says nothing about others."""
    shortest, statements = value["log_min_duration_statement"], value["log_statement"]
    detail = f"log_min_duration_statement is {shortest}, log_statement is {statements!r}"
    if source in ("user", "database user"):
        return Step("setting log_min_duration_statement", True, f"{detail}, for this role; other roles are not seen")
    if shortest == "0" or statements == "all":
        return Step("setting log_min_duration_statement", True, detail)
    fix = "Set log_min_duration_statement = 0 (or log_statement = 'all'), then reload: only logged statements count."
    return Step("setting log_min_duration_statement", False, detail, fix)


async def probe_log(connection: Connection, settings: PostgresSettings, reader: str) -> Step:
    """Read one piece of the log for real."""
    arguments = (_PROBE_TABLE, settings.log_table) if reader == "file_fdw" else (_PROBE_FILE,)
    try:
        await connection.fetchval(*arguments)
    except Exception as error:
        failure: WarehouseError = warehouse_error(error, settings)
        return Step("read the log", False, failure.detail, "See the server's log for the refused statement.")
    return Step("read the log", True, "a piece of the log was read")
