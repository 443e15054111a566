"""Subscriptions of scraper: policy and one call each."""

from collections.abc import Sequence

from libs.common.connector_copy import on_connector_changed
from libs.common.consume import Consumers, Record
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.tenants import Tenants
from libs.common.topics import BI_QUERY_STORED, CONNECTOR_CHANGED
from services.scraper.service import Scraper


def subscribe(consumers: Consumers, scraper: Scraper, tenants: Tenants) -> None:
    """Register what this service reads; records of deleted tenants are dropped."""
    database = scraper.jobs.database

    async def on_bi_query_stored(records: Sequence[Record[BiQueryStored]]) -> None:
        async with database.work() as connection:
            for record in records:
                await scraper.close_job(connection, record.event)

    tenants.subscribe(consumers)
    consumers.subscribe(BI_QUERY_STORED, BiQueryStored, tenants.living(on_bi_query_stored))
    follow_connectors = on_connector_changed(database, scraper.forget_connector, scraper.jobs.schedules.keep)
    consumers.subscribe(CONNECTOR_CHANGED, ConnectorChanged, tenants.living(follow_connectors))
