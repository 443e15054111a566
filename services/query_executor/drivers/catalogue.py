"""What a login can see and do, asked by statements like any other: read-only, limited, one at a time."""

from collections.abc import Mapping
from typing import Final

from services.query_executor.statement import Bound, Engine

# Schema, table, column, type. Redshift has no function that judges columns.
_POSTGRES_COLUMNS: Final = """\
SELECT CAST(n.nspname AS varchar) AS "schema", CAST(c.relname AS varchar) AS "table",
    CAST(a.attname AS varchar) AS "column", format_type(a.atttypid, a.atttypmod) AS "type"
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'
    AND has_schema_privilege(n.nspname, 'USAGE') AND {readable}
ORDER BY n.nspname, c.relname, a.attnum"""
_MYSQL_COLUMNS: Final = """\
SELECT table_schema AS `schema`, table_name AS `table`, column_name AS `column`, column_type AS `type`
FROM information_schema.columns
WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
    AND privileges LIKE '%select%'
ORDER BY table_schema, table_name, ordinal_position"""
_CLICKHOUSE_COLUMNS: Final = """\
SELECT database AS "schema", table AS "table", name AS "column", type AS "type"
FROM system.columns WHERE database = currentDatabase() ORDER BY database, table, position"""
_SAMPLE: Final = {"size": 100, "query": {"match_all": {}}}

_COLUMNS: Final[Mapping[Engine, str]] = {
    Engine.POSTGRES: _POSTGRES_COLUMNS.format(readable="has_column_privilege(c.oid, a.attnum, 'SELECT')"),
    Engine.REDSHIFT: _POSTGRES_COLUMNS.format(readable="has_table_privilege(c.oid, 'SELECT')"),
    Engine.MYSQL: _MYSQL_COLUMNS,
    Engine.CLICKHOUSE: _CLICKHOUSE_COLUMNS,
}

# Whether the login is an administrator, and how many tables or rights it may write by.
_POSTGRES_RIGHTS: Final = """\
SELECT CASE WHEN {superuser} THEN 1 ELSE 0 END AS administrator, (
    SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'
        AND (has_table_privilege(c.oid, 'INSERT') OR has_table_privilege(c.oid, 'UPDATE')
            OR has_table_privilege(c.oid, 'DELETE'))
) AS writable"""
_MYSQL_RIGHTS: Final = """\
SELECT count(CASE WHEN scope = 'all' AND privilege_type IN ('SUPER', 'CREATE USER', 'FILE') THEN 1 END)
        AS administrator,
    count(CASE WHEN privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER') THEN 1 END) AS writable
FROM (
    SELECT 'all' AS scope, grantee, privilege_type FROM information_schema.user_privileges
    UNION ALL SELECT 'schema', grantee, privilege_type FROM information_schema.schema_privileges
    UNION ALL SELECT 'table', grantee, privilege_type FROM information_schema.table_privileges
) AS granted
WHERE grantee = concat('''', substring_index(current_user(), '@', 1), '''@''',
    substring_index(current_user(), '@', -1), '''')"""
_CLICKHOUSE_RIGHTS: Final = """\
SELECT countIf(access_type IN ('ALL', 'ACCESS MANAGEMENT', 'SYSTEM')) AS administrator,
    countIf(access_type IN ('ALL', 'INSERT', 'ALTER', 'CREATE', 'DROP', 'TRUNCATE', 'ALTER TABLE', 'CREATE TABLE',
        'DROP TABLE')) AS writable
FROM system.grants WHERE user_name = currentUser()"""
_RIGHTS: Final[Mapping[Engine, str]] = {
    Engine.POSTGRES: _POSTGRES_RIGHTS.format(
        superuser="(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
    ),
    Engine.REDSHIFT: _POSTGRES_RIGHTS.format(
        superuser="(SELECT usesuper FROM pg_catalog.pg_user WHERE usename = current_user)"
    ),
    Engine.MYSQL: _MYSQL_RIGHTS,
    Engine.CLICKHOUSE: _CLICKHOUSE_RIGHTS,
}


def _plain(engine: Engine, text: str) -> Bound:
    return Bound(engine, (text,), ())


def columns(engine: Engine) -> Bound:
    """Schema, table, column and type of what may be read; for a search engine a sample of documents."""
    if engine is Engine.ELASTICSEARCH:
        return Bound(engine, ("",), (), dict(_SAMPLE))
    return _plain(engine, _COLUMNS[engine])


def smallest(engine: Engine) -> Bound:
    """A statement that any login may run."""
    if engine is Engine.ELASTICSEARCH:
        return Bound(engine, ("",), (), {"size": 1, "query": {"match_all": {}}})
    return _plain(engine, "SELECT 1 AS one")


def rights(engine: Engine) -> Bound | None:
    """One row: administrator, writable; None where only searches can be sent."""
    text = _RIGHTS.get(engine)
    return _plain(engine, text) if text else None
