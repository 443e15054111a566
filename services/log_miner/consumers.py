"""Subscriptions of log_miner: policy and one call each."""

from collections.abc import Sequence

from libs.common.connector_copy import on_connector_changed
from libs.common.consume import Consumers, Record
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.topics import BI_QUERY_STORED, CONNECTOR_CHANGED
from services.log_miner.service import Miner


def subscribe(consumers: Consumers, miner: Miner) -> None:
    """Register what this service reads."""

    async def on_bi_query_stored(records: Sequence[Record[BiQueryStored]]) -> None:
        async with miner.database.work() as connection:
            for record in records:
                await miner.close_job(connection, record.event)

    consumers.subscribe(BI_QUERY_STORED, BiQueryStored, on_bi_query_stored)
    consumers.subscribe(
        CONNECTOR_CHANGED,
        ConnectorChanged,
        on_connector_changed(miner.database, miner.forget_connector, miner.schedules.keep),
    )
