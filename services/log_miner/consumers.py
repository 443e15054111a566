"""Subscriptions of log_miner: policy and one call each."""

from collections.abc import Sequence

from libs.common.connector_copy import on_connector_changed
from libs.common.consume import Consumers, Record
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.tenants import Tenants
from libs.common.topics import BI_QUERY_STORED, CONNECTOR_CHANGED
from services.log_miner.service import Miner


def subscribe(consumers: Consumers, miner: Miner, tenants: Tenants) -> None:
    """Register what this service reads; records of deleted tenants are dropped."""

    async def on_bi_query_stored(records: Sequence[Record[BiQueryStored]]) -> None:
        async with miner.jobs.database.work() as connection:
            for record in records:
                await miner.close_job(connection, record.event)

    tenants.subscribe(consumers)
    consumers.subscribe(BI_QUERY_STORED, BiQueryStored, tenants.living(on_bi_query_stored))
    follow_connectors = on_connector_changed(miner.jobs.database, miner.forget_connector, miner.jobs.schedules.keep)
    consumers.subscribe(CONNECTOR_CHANGED, ConnectorChanged, tenants.living(follow_connectors))
