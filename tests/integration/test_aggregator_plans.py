"""Statements of an ingest are planned for the tables as they are, not as they were when the process began."""

from libs.common.db import Connection
from services.aggregator.store import records
from services.aggregator.store.ingest import open_staging
from tests.integration.aggregator_harness import Source, replicas
from tests.support.platform import Platform

# After five executions the server would keep a plan.
BATCHES = 12


async def _kept_plans(connection: Connection) -> list[str]:
    rows = await connection.fetch("SELECT statement FROM pg_prepared_statements WHERE generic_plans > 0")
    statements = [row["statement"] for row in rows]
    return [each for each in statements if "FROM" in each and "pg_prepared_statements" not in each]


async def test_no_plan_is_kept_for_the_next_batch(platform: Platform) -> None:
    async with replicas(platform) as (harness,):
        source = Source()
        for number in range(BATCHES):
            await harness.take(source.record(f"r{number}", number + 1))
        async with harness.database.work() as connection:
            await open_staging(connection)
            for _ in range(BATCHES):
                await records.known(connection)
            seen: int = await connection.fetchval("SELECT sum(custom_plans)::int FROM pg_prepared_statements")
            assert seen >= BATCHES
            kept = await _kept_plans(connection)
            assert not kept, "\n".join(kept)
