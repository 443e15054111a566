"""Subscriptions of scraper: policy and one call each."""

from collections.abc import Sequence

from libs.common.connector_copy import on_connector_changed
from libs.common.consume import Consumers, Record
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.topics import BI_QUERY_STORED, CONNECTOR_CHANGED
from services.scraper.service import Scraper


def subscribe(consumers: Consumers, scraper: Scraper) -> None:
    """Register what this service reads."""
    database = scraper.jobs.database

    async def on_bi_query_stored(records: Sequence[Record[BiQueryStored]]) -> None:
        async with database.work() as connection:
            for record in records:
                await scraper.close_job(connection, record.event)

    consumers.subscribe(BI_QUERY_STORED, BiQueryStored, on_bi_query_stored)
    consumers.subscribe(CONNECTOR_CHANGED, ConnectorChanged, on_connector_changed(database, scraper.forget_connector))
