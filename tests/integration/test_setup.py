"""The setup step: roles, schemas, row-level security, and that it may run again."""

import asyncpg
import pytest

from deploy.setup.bootstrap import bootstrap
from deploy.setup.migrate import migrate
from libs.common.services import SERVICES
from tests.support.platform import Platform, setup_settings
from tests.support.servers import Servers

# Tables without row-level security, and why.
EXEMPT = {
    "schema_migrations": "written by the migration tool, holds no tenant's data",
    "outbox": "messages on their way; read by the relay alone",
    "inbox": "ids of messages already handled",
    "pgqueuer": "job queue; a job holds an id, its row holds the data",
    "pgqueuer_log": "job queue",
    "pgqueuer_schedules": "job queue",
    "pgqueuer_statistics": "job queue",
}


async def test_setup_may_run_again(platform: Platform, servers: Servers) -> None:
    settings = setup_settings(platform.admin_url, servers)
    await bootstrap(settings)
    migrate(settings)


async def test_every_table_is_bound_to_a_tenant_or_exempt(platform: Platform) -> None:
    admin = await asyncpg.connect(platform.admin_url)
    tables = await admin.fetch(
        """SELECT n.nspname AS schema, c.relname AS name, c.relrowsecurity AS secured,
                  (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY($1)""",
        list(SERVICES),
    )
    await admin.close()
    assert len(tables) > 10
    bare = [f"{t['schema']}.{t['name']}" for t in tables if not t["secured"] and t["name"] not in EXEMPT]
    assert bare == []
    assert [t["name"] for t in tables if t["secured"] and t["policies"] != 3] == []


async def test_login_roles_own_nothing_and_create_nothing(platform: Platform) -> None:
    for service in SERVICES:
        for url in (platform.api_url(service), platform.worker_url(service)):
            connection = await asyncpg.connect(url)
            owned = await connection.fetchval("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole")
            assert owned == 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("CREATE TABLE intruder (id int)")
            await connection.close()


async def test_a_service_cannot_read_the_tables_of_another(platform: Platform) -> None:
    connection = await asyncpg.connect(platform.worker_url("aggregator"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT * FROM gateway.connector")
    await connection.close()
