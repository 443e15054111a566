"""Tenants' own schemas: what a tenant's login reads, and what it cannot, with the parser left out."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.query_executor.drivers.internal import role_name
from services.query_executor.service.tenant_schemas import TenantSchemas
from tests.integration.internal_harness import administrator, fill, logged_in, new_tenant, tenant_schemas
from tests.support.platform import Platform

NOT_FOR_WANT_OF_RIGHTS = {"dblink": "42883"}  # is not installed
VIEWS = {
    "app", "audit_event", "bi_reference", "component", "connector", "data_product", "data_product_table", "deployment",
    "environment", "product_usage", "query_execution", "query_log", "saved_query", "space",
}  # fmt: skip


@pytest.fixture
async def schemas(platform: Platform) -> AsyncIterator[TenantSchemas]:
    async with tenant_schemas(platform) as made:
        yield made


async def test_provisioning_may_run_again_and_at_the_same_time(platform: Platform, schemas: TenantSchemas) -> None:
    tenants = [uuid4() for _ in range(12)]
    began = time.perf_counter()
    passwords = await asyncio.gather(*(schemas.provision(each, again=True) for each in tenants * 3))
    taken = time.perf_counter() - began
    for place, tenant in enumerate(tenants):
        assert len({passwords[at].get_secret_value() for at in range(place, len(passwords), len(tenants))}) == 1
        async with logged_in(platform, schemas, tenant) as connection:
            assert await connection.fetchval("SELECT count(*) FROM data_product") == 0
    assert await schemas.tables(tenants[0]) == VIEWS | {f"{name}_v1" for name in VIEWS}
    print(f"PROVISIONING tenants={len(tenants)} runs={len(passwords)} ms_per_run={taken / len(passwords) * 1000:.1f}")


async def test_service_and_server_name_a_tenant_alike(platform: Platform) -> None:
    tenant = uuid4()
    async with administrator(platform) as admin:
        assert await admin.fetchval("SELECT tidemark.tenant_role($1)::text", tenant) == role_name(tenant)


async def test_two_tenants_see_their_own_rows_through_every_view(platform: Platform, schemas: TenantSchemas) -> None:
    one, other = [await new_tenant(platform, schemas, mark) for mark in ("canary-one", "canary-other")]
    seen: dict[UUID, dict[str, str]] = {}
    for tenant in (one, other):
        async with logged_in(platform, schemas, tenant) as connection:
            seen[tenant] = {
                view: str(await connection.fetch(f"SELECT * FROM {view}")) for view in await schemas.tables(tenant)
            }
    assert len(seen[one]) == 2 * len(VIEWS)
    for view in seen[one]:
        assert str(one) in seen[one][view], view
        assert str(other) in seen[other][view], view
        assert str(other) not in seen[one][view], view
        assert "canary-other" not in seen[one][view], view
    texts = "".join(seen[one].values())
    assert "canary-one" in texts
    assert "sealed" not in texts
    print(f"INTERNAL_VIEWS views={len(seen[one])} foreign_rows=0")


async def test_a_view_names_its_tenant_and_no_setting_changes_it(platform: Platform, schemas: TenantSchemas) -> None:
    one, other = [await new_tenant(platform, schemas, mark) for mark in ("one", "other")]
    async with administrator(platform) as admin:
        text = await admin.fetchval("SELECT pg_get_viewdef($1::regclass)", f"{role_name(one)}.data_product")
        options = await admin.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = ANY($1::regnamespace[])"
            " AND coalesce(reloptions::text, '') NOT LIKE '%security_barrier=true%'",
            ["share", role_name(one)],
        )
    assert f"'{one}'::uuid" in text
    assert options == []
    async with logged_in(platform, schemas, one) as connection:
        await connection.execute("SELECT set_config('app.tenant', $1, false)".replace("$1", f"'{other}'"))
        assert await connection.fetchval("SELECT id FROM data_product") == one


def attacks(other: str) -> dict[str, str]:
    """Statements that a tenant's login must not be able to run."""
    return {
        "another tenant's view": f"SELECT * FROM {other}.data_product",
        "the same in a text": f"SELECT query_to_xml('SELECT * FROM {other}.data_product', true, false, '')",
        "the views of all": "SELECT * FROM share.data_product_v1",
        "a service's table": "SELECT * FROM aggregator.data_product",
        "secrets": "SELECT * FROM query_executor.secret",
        "passwords of tenants": "SELECT * FROM query_executor.tenant_schema",
        "connectors": "SELECT sealed_settings FROM gateway.connector",
        "outbox": "SELECT * FROM query_executor.outbox",
        "a service's role": "SET ROLE query_executor_worker",
        "the owner's role": "SET ROLE tenant_owner",
        "the logins' role": "SET ROLE tenant_login",
        "the administrator's role": "SET ROLE postgres",
        "another tenant's role": f"SET ROLE {other}",
        "session of another": f"SET SESSION AUTHORIZATION {other}",
        "role by a function": "SELECT set_config('role', 'share_owner', false)",
        "provisioning": "SELECT tidemark.provision_tenant(gen_random_uuid(), 'x')",
        "dropping": "SELECT tidemark.drop_tenant(gen_random_uuid())",
        "table": "CREATE TABLE t (id int)",
        "table elsewhere": "CREATE TABLE public.t (id int)",
        "temporary table": "CREATE TEMP TABLE t (id int)",
        "select into": "SELECT 1 AS a INTO t",
        "view": "CREATE VIEW v AS SELECT 1",
        "function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "schema": "CREATE SCHEMA s",
        "extension": "CREATE EXTENSION dblink",
        "dblink": "SELECT * FROM dblink('', 'SELECT 1') AS t(a int)",
        "role": "CREATE ROLE r",
        "database": "CREATE DATABASE d",
        "more rights": "ALTER ROLE CURRENT_USER SUPERUSER",
        "more connections": "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
        "no checkpoints": "CHECKPOINT",
        "own settings for others": f"ALTER ROLE {other} SET search_path = public",
        "write through a view": "UPDATE space SET name = 'x'",
        "delete through a view": "DELETE FROM space",
        "insert through a view": "INSERT INTO space (id) VALUES (gen_random_uuid())",
        "replace a view": "CREATE OR REPLACE VIEW space AS SELECT 1",
        "drop a view": "DROP VIEW space",
        "copy in": "COPY space FROM '/etc/passwd'",
        "copy out": "COPY (SELECT 1) TO '/tmp/tidemark-out'",
        "copy to a program": "COPY (SELECT 1) TO PROGRAM 'true'",
        "read a file": "SELECT pg_read_file('/etc/passwd')",
        "list files": "SELECT pg_ls_dir('/')",
        "large object from a file": "SELECT lo_import('/etc/passwd')",
        "large object": "SELECT lo_from_bytea(0, 'x')",
        "large object, empty": "SELECT lo_create(0)",
        "notify": "SELECT pg_notify('outbox_aggregator', '')",
        "lock that services wait for": "SELECT pg_advisory_lock(hashtextextended('tidemark-outbox-aggregator', 0))",
        "the same, tried": "SELECT pg_try_advisory_xact_lock(1)",
        "sleep": "SELECT pg_sleep(1)",
        "stop others": "SELECT pg_terminate_backend(pg_backend_pid() - 1)",
        "password hashes": "SELECT * FROM pg_authid",
        "password hashes by a view": "SELECT * FROM pg_shadow",
        "roles": "SELECT * FROM pg_roles",
        "sessions": "SELECT * FROM pg_stat_activity",
        "sessions by a function": "SELECT * FROM pg_stat_get_activity(NULL)",
        "locks": "SELECT * FROM pg_locks",
        "server files in settings": "SELECT * FROM pg_file_settings",
        "access rules": "SELECT * FROM pg_hba_file_rules",
        "statistics of values": "SELECT * FROM pg_statistic",
        "reload": "SELECT pg_reload_conf()",
        "snapshot": "SELECT pg_export_snapshot()",
        "wal message": "SELECT pg_logical_emit_message(true, 'a', 'b')",
        "server setting": "ALTER SYSTEM SET work_mem = '1GB'",
        "lock a table": "BEGIN; LOCK TABLE query_executor.secret",
        "trigger off": "SET session_replication_role = replica",
        "comment": "COMMENT ON VIEW space IS 'x'",
        "code": "DO $$ BEGIN PERFORM 1 FROM gateway.connector; END $$",
        "lower the barrier": "ALTER VIEW space RESET (security_barrier)",
    }


async def test_the_login_reads_its_schema_and_changes_nothing(platform: Platform, schemas: TenantSchemas) -> None:
    one, other = [await new_tenant(platform, schemas, mark) for mark in ("one", "other")]
    passed, reasons = list[str](), dict[str, str]()
    cases = attacks(role_name(other))
    async with logged_in(platform, schemas, one) as connection:
        # The session's own defaults are the driver's affair: here it gives them up, as an attacker would.
        await connection.execute("SET default_transaction_read_only = off; SET search_path = public, pg_catalog")
        await connection.execute(f"SET search_path = {role_name(one)}")
        for name, statement in cases.items():
            try:
                await connection.execute(statement)
                passed.append(name)
            except asyncpg.PostgresError as error:
                await connection.execute("ROLLBACK")
                reasons[name] = str(error.sqlstate)
    assert passed == []
    # Refused for want of a right, not because the statement is wrong.
    assert {name: state for name, state in reasons.items() if state != "42501"} == NOT_FOR_WANT_OF_RIGHTS
    print(f"INTERNAL refused={len(cases) - len(passed)} of={len(cases)}")


async def test_what_is_not_refused_is_harmless(platform: Platform, schemas: TenantSchemas) -> None:
    one = await new_tenant(platform, schemas, "one")
    async with logged_in(platform, schemas, one) as connection:
        for statement in ("RESET ROLE", "SET ROLE NONE", "RESET SESSION AUTHORIZATION", "NOTIFY outbox_aggregator"):
            await connection.execute(statement)
        assert await connection.fetchval("SELECT current_user = session_user") is True
        assert await connection.fetchval("SELECT session_user") == role_name(one)
        await connection.execute("SELECT set_config('search_path', 'aggregator, share', false)")
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT * FROM data_product")
        # The planner's statistics of other people's columns do not show.
        known = await connection.fetch("SELECT DISTINCT schemaname FROM pg_stats")
        assert {row["schemaname"] for row in known} <= {"pg_catalog", "information_schema"}
        await connection.execute("RESET ALL")
        assert await connection.fetchval("SHOW search_path") == role_name(one)
        assert await connection.fetchval("SHOW default_transaction_read_only") == "on"
        assert await connection.fetchval("SHOW statement_timeout") == "5min"
    await _changes_itself(platform, schemas, one)


async def _changes_itself(platform: Platform, schemas: TenantSchemas, tenant: UUID) -> None:
    """PostgreSQL lets each login change its own password and defaults; that harms itself alone, and is repaired."""
    async with logged_in(platform, schemas, tenant) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("ALTER ROLE CURRENT_USER SET search_path = aggregator")
        await connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with logged_in(platform, schemas, tenant):
            pass
    await schemas.provision(tenant, again=True)
    async with logged_in(platform, schemas, tenant) as connection:
        assert await connection.fetchval("SELECT id FROM space") == tenant


async def test_a_long_statement_is_stopped_by_its_limit(platform: Platform, schemas: TenantSchemas) -> None:
    one = await new_tenant(platform, schemas, "one")
    async with logged_in(platform, schemas, one) as connection:
        await connection.execute("SET statement_timeout = 200")
        began = time.perf_counter()
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.execute("SELECT count(*) FROM generate_series(1, 1000000000) g")
        assert time.perf_counter() - began < 60


async def test_a_filter_of_the_reader_sees_no_row_of_others(platform: Platform, schemas: TenantSchemas) -> None:
    """A condition that fails on a value tells that it was shown that value; the views are barriers."""
    one, _ = [await new_tenant(platform, schemas, mark) for mark in ("12", "canary")]
    async with administrator(platform) as admin:
        await admin.execute("UPDATE aggregator.space SET name = '12' WHERE tenant_id = $1", one)
    async with logged_in(platform, schemas, one) as connection:
        assert await connection.fetchval("SELECT count(*) FROM space WHERE name::int = 12") == 1


async def test_tables_that_the_operator_makes_are_read_too(platform: Platform, schemas: TenantSchemas) -> None:
    one = await new_tenant(platform, schemas, "one")
    async with administrator(platform) as admin:
        await admin.execute("SET ROLE tenant_owner")
        await admin.execute(f"CREATE TABLE {role_name(one)}.orders AS SELECT 7 AS id")
        await admin.execute(f"CREATE TABLE {role_name(one)}.query_log_v2 AS SELECT 8 AS id")
        await admin.execute("RESET ROLE")
        await admin.execute(f"CREATE TABLE {role_name(one)}.hidden AS SELECT 9 AS id")
    async with logged_in(platform, schemas, one) as connection:
        assert await connection.fetchval("SELECT id FROM orders") == 7
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM hidden")
    async with administrator(platform) as admin:
        await admin.execute(f"ALTER TABLE {role_name(one)}.hidden OWNER TO tenant_owner")
    await schemas.provision(one, again=True)
    tables = await schemas.tables(one)
    assert {"orders", "hidden", "query_log"} <= tables
    async with logged_in(platform, schemas, one) as connection:
        assert await connection.fetchval("SELECT id FROM hidden") == 9


async def test_a_new_version_of_a_view_appears(platform: Platform, schemas: TenantSchemas) -> None:
    one = await new_tenant(platform, schemas, "canary")
    async with administrator(platform) as admin:
        await admin.execute("INSERT INTO query_executor.tenant (tenant_id, version) VALUES ($1, 1)", one)
        await admin.execute(
            "CREATE VIEW share.space_v2 WITH (security_barrier) AS SELECT tenant_id, name AS title"
            " FROM aggregator.space;"
            "ALTER VIEW share.space_v2 OWNER TO share_owner; GRANT SELECT ON share.space_v2 TO tenant_owner"
        )
    try:
        assert await schemas.keep_up() >= 1
        async with logged_in(platform, schemas, one) as connection:
            assert await connection.fetchval("SELECT title FROM space") == "canary-name"
            assert await connection.fetchval("SELECT title FROM space_v2") == "canary-name"
            assert await connection.fetchval("SELECT name FROM space_v1") == "canary-name"
        assert "space_v2" in await schemas.tables(one)
    finally:
        async with administrator(platform) as admin:
            await admin.execute("DROP VIEW share.space_v2 CASCADE")
    await schemas.keep_up()
    async with logged_in(platform, schemas, one) as connection:
        assert await connection.fetchval("SELECT name FROM space") == "canary-name"
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT * FROM space_v2")


async def test_a_tenant_that_cannot_follow_holds_up_no_other(platform: Platform, schemas: TenantSchemas) -> None:
    stuck, other = [await new_tenant(platform, schemas, mark) for mark in ("stuck", "other")]
    async with administrator(platform) as admin:
        await admin.executemany(
            "INSERT INTO query_executor.tenant (tenant_id, version) VALUES ($1, 1)", [(stuck,), (other,)]
        )
        await admin.execute(f"CREATE VIEW {role_name(stuck)}.mine AS SELECT name FROM {role_name(stuck)}.space")
        await admin.execute(
            "CREATE VIEW share.space_v2 WITH (security_barrier) AS SELECT tenant_id, id AS other FROM share.app_v1"
        )
        await admin.execute("ALTER VIEW share.space_v2 OWNER TO share_owner")
        await admin.execute("GRANT SELECT ON share.space_v2 TO tenant_owner")
        await schemas.keep_up()
        assert "space_v2" in await schemas.tables(other)
        assert await schemas.keep_up() == 0
        with pytest.raises(asyncpg.DependentObjectsStillExistError):
            await schemas.provision(stuck)
        await admin.execute(f"DROP VIEW {role_name(stuck)}.mine")
        await schemas.provision(stuck)
        assert "space_v2" in await schemas.tables(stuck)
        await admin.execute("DROP VIEW share.space_v2 CASCADE")
    await schemas.keep_up()


async def test_a_deleted_tenant_leaves_no_login_and_no_schema(platform: Platform, schemas: TenantSchemas) -> None:
    one = await new_tenant(platform, schemas, "one")
    async with administrator(platform) as admin:
        await admin.execute("SET ROLE tenant_owner")
        await admin.execute(f"CREATE TABLE {role_name(one)}.orders AS SELECT 7 AS id")
        await admin.execute("RESET ROLE")
        await admin.execute(
            "INSERT INTO query_executor.tenant (tenant_id, version, deleted_at) VALUES ($1, 2, '2026-01-01')", one
        )
        async with logged_in(platform, schemas, one) as open_session:
            await schemas.keep_up()
            with pytest.raises(asyncpg.PostgresError):
                await open_session.fetch(f"SELECT * FROM {role_name(one)}.orders")
        assert await admin.fetchval("SELECT to_regrole($1)", role_name(one)) is None
        assert await admin.fetchval("SELECT to_regnamespace($1)", role_name(one)) is None
        assert await admin.fetchval("SELECT count(*) FROM query_executor.tenant_schema WHERE tenant_id = $1", one) == 0
    assert await schemas.keep_up() == 0
    with pytest.raises(Exception, match="Tenant not found"):
        await schemas.provision(one)


async def test_a_login_that_went_away_comes_back(platform: Platform, schemas: TenantSchemas) -> None:
    """As after a restore on another server: roles are not part of a database's backup."""
    one = await new_tenant(platform, schemas, "one")
    async with administrator(platform) as admin:
        await admin.execute(f"DROP OWNED BY {role_name(one)}; DROP ROLE {role_name(one)}")
        await admin.execute("INSERT INTO query_executor.tenant (tenant_id, version) VALUES ($1, 1)", one)
    await schemas.keep_up()
    async with logged_in(platform, schemas, one) as connection:
        assert await connection.fetchval("SELECT id FROM data_product") == one


async def test_services_keep_what_tenants_lost(platform: Platform) -> None:
    """Functions that are taken from everybody stay with the logins of services."""
    for service in ("aggregator", "log_miner"):
        for url in (platform.api_url(service), platform.worker_url(service)):
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT pg_try_advisory_lock(7)") is True
            await connection.execute("SELECT pg_notify('x', '')")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("SELECT tidemark.provision_tenant(gen_random_uuid(), 'x')")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM share.data_product_v1")
            await connection.close()


async def test_a_password_is_never_taken_in_clear(platform: Platform) -> None:
    connection = await asyncpg.connect(platform.worker_url("query_executor"))
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute("SELECT tidemark.provision_tenant(gen_random_uuid(), 'in clear')")
    await connection.close()


async def test_rows_are_filled_for_every_view(platform: Platform) -> None:
    """Else the test of two tenants would compare nothing with nothing."""
    async with administrator(platform) as admin:
        tenant = uuid4()
        await fill(admin, tenant, "x")
        views = [row["relname"] for row in await admin.fetch("SELECT * FROM tidemark.offered_views() o(relname)")]
        sources = {each for each in views if each.endswith("_v1")}
        for view in sources:
            assert await admin.fetchval(f"SELECT count(*) FROM share.{view} WHERE tenant_id = $1", tenant) == 1, view
        assert {each.removesuffix("_v1") for each in sources} == VIEWS
