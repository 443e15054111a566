"""The guard's lists against a real Postgres: what they allow exists and changes nothing; what is refused is real."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove
from services.query_executor.guard.lists import sections
from services.query_executor.guard.names import functions, never
from services.query_executor.statement import Draft, Engine
from tests.support.servers import Servers

# Written with brackets or as a bare word, but no row of pg_proc: the grammar's own.
GRAMMAR = set(
    """
    array cast coalesce current_catalog current_time current_timestamp greatest grouping json json_array json_arrayagg
    json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value least localtime
    localtimestamp nullif row trim xmlattributes xmlconcat xmlelement xmlforest xmlparse xmlroot xmlserialize xmltable
    multirange
    """.split()  # noqa: SIM905
)
# Not immutable or stable, and yet they change nothing: chance, the clock, and sizes.
HARMLESS = set(
    """
    array_sample array_shuffle clock_timestamp gen_random_uuid random random_normal timeofday uuidv4 uuidv7
    pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_total_relation_size pg_is_in_recovery
    pg_partition_ancestors pg_partition_tree
    """.split()  # noqa: SIM905
)


@pytest.fixture(scope="module")
async def database(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(servers.postgres)
    yield connection
    await connection.close()


async def volatility(database: asyncpg.Connection) -> dict[str, set[str]]:
    rows = await database.fetch(
        "SELECT proname, provolatile::text AS kind FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
    )
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["proname"], set()).add(row["kind"])
    return found


async def test_what_is_allowed_exists_and_changes_nothing(database: asyncpg.Connection) -> None:
    kinds = await volatility(database)
    lists = sections("postgres")
    allowed = (lists["functions"] | lists["catalogue"]) - GRAMMAR
    assert allowed - set(kinds) == set()
    assert {name for name in allowed if "v" in kinds[name]} == HARMLESS & allowed


async def test_nothing_that_takes_a_statement_or_a_relation_by_name_is_allowed_inside(
    database: asyncpg.Connection,
) -> None:
    rows = await database.fetch(
        """
        SELECT DISTINCT proname FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proargtypes::regtype[] && ARRAY['regclass', 'regproc', 'refcursor', 'regprocedure']::regtype[]
                OR prosrc ~ 'query_to_xml|ts_stat|ts_rewrite_query|cursor_to_xml')
        """
    )
    assert {row["proname"] for row in rows} & functions(Engine.INTERNAL).scalar == set()


async def test_most_volatile_functions_are_never_allowed(database: asyncpg.Connection) -> None:
    """Not only off the list: no setting of a secret can bring back what waits, writes, locks or reads files."""
    kinds = await volatility(database)
    volatile = {name for name, found in kinds.items() if "v" in found} - functions(Engine.POSTGRES).scalar
    open_to_secrets = {name for name in volatile if not never(Engine.POSTGRES, name)}
    print(f"GUARD_VOLATILE never={len(volatile) - len(open_to_secrets)} of={len(volatile)}")
    assert {name for name in open_to_secrets if re.match("pg_|lo_|.*_lock|.*sleep|.*file", name)} <= {
        "pg_available_wal_summaries", "pg_blocking_pids", "pg_collation_actual_version", "pg_control_checkpoint",
        "pg_control_init", "pg_control_recovery", "pg_control_system", "pg_current_wal_flush_lsn",
        "pg_current_wal_insert_lsn", "pg_current_wal_lsn", "pg_database_collation_actual_version", "pg_get_aios",
        "pg_get_backend_memory_contexts", "pg_get_loaded_modules", "pg_get_multixact_members", "pg_get_sequence_data",
        "pg_get_shmem_allocations", "pg_get_shmem_allocations_numa", "pg_get_wait_events",
        "pg_get_wal_replay_pause_state", "pg_get_wal_resource_managers", "pg_get_wal_summarizer_state",
        "pg_is_wal_replay_paused", "pg_jit_available", "pg_last_committed_xact", "pg_last_wal_receive_lsn",
        "pg_notification_queue_usage",
        "pg_last_wal_replay_lsn", "pg_last_xact_replay_timestamp", "pg_partition_ancestors", "pg_partition_tree",
        "pg_prepared_xact", "pg_safe_snapshot_blocking_pids", "pg_tablespace_size", "pg_xact_commit_timestamp",
        "pg_xact_commit_timestamp_origin", "pg_xact_status",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("SELECT pg_read_file('PG_VERSION')", "18"),
        ("SELECT set_config('application_name', 'taken', false)", "taken"),
        ("SELECT query_to_xml('SELECT 42 AS x', false, false, '')", "42"),
        ('SELECT "pg_catalog"."pg_read_file"(\'PG_VERSION\')', "18"),
        ("SELECT U&\"pg_read\\005ffile\"('PG_VERSION')", "18"),
        ("SELECT current_setting('data_directory')", "/"),
        ("SELECT rolname FROM pg_authid WHERE rolsuper LIMIT 1", "postgres"),
        ("SELECT relname FROM pg_class WHERE oid = 'pg_authid'::regclass", "pg_authid"),
        ("WITH x AS (INSERT INTO guard_probe VALUES (7) RETURNING a) SELECT a FROM x", "7"),
        ("SELECT 1 OPERATOR(pg_catalog.+) 1", "2"),
        ("SELECT ('PG_VERSION'::text).pg_read_file", "18"),
        ("SELECT (SELECT 'PG_VERSION'::text).\"pg_read_file\"", "18"),
        ("SELECT (ARRAY['PG_VERSION'])[1].pg_read_file", "18"),
        ("SELECT (t).current_setting FROM (SELECT 'server_version_num'::text AS t) t", "18"),
        ("SELECT x.pg_read_file FROM unnest(ARRAY['PG_VERSION']) x", "18"),
    ],
)
async def test_what_the_guard_refuses_would_have_worked(database: asyncpg.Connection, text: str, shows: str) -> None:
    """With the other layers off: a superuser's session that may write."""
    await database.execute("CREATE TEMPORARY TABLE IF NOT EXISTS guard_probe (a int)")
    assert shows in str(await database.fetchval(text))
    with pytest.raises(QueryValidationError):
        prove(Draft(Engine.POSTGRES, text, ()), Policy())


async def test_no_function_that_takes_a_whole_row_is_dangerous(database: asyncpg.Connection) -> None:
    """`t.f` calls `f` with a row of the table `t`; such names are taken for columns."""
    rows = await database.fetch(
        """
        SELECT proname FROM pg_proc
        WHERE pronargs - pronargdefaults <= 1 AND pronargs >= 1 AND provolatile = 'v'
            AND proargtypes[0] = ANY (ARRAY['record', '"any"', 'anyelement', 'anynonarray', 'anycompatible']::regtype[])
        """
    )
    assert {row["proname"] for row in rows} == {"pg_restore_attribute_stats", "pg_restore_relation_stats"}
    for row in rows:
        with pytest.raises(QueryValidationError):
            prove(Draft(Engine.POSTGRES, f"SELECT t.{row['proname']} FROM t", ()), Policy())
