"""Subscriptions of the aggregator: policy and one call each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from libs.common.consume import Consumers, DeadLetter, Record
from libs.common.events import BiQueryRecord, BiQueryScraped, ConnectorChanged, SyncCompleted, UsageRecompute
from libs.common.tenants import Tenants
from libs.common.topics import BI_QUERY_SCRAPED, CONNECTOR_CHANGED, USAGE_RECOMPUTE
from services.aggregator.ingest import Ingest
from services.aggregator.rows import LedgerKey

# One reads and prepares while the database stores what the other prepared.
_MEMBERS: Final = 2
# Thirty statements a batch, each planned anew, cost little of one that large.
_MAX_RECORDS: Final = 10_000
_log = structlog.get_logger()


def place_of(letter: DeadLetter) -> tuple[LedgerKey, int] | None:
    """Ledger and number of a record whose body cannot be read: from its key and headers; None outside of a job."""
    extensions = letter.envelope.extensions
    try:
        tenant, connector = (UUID(part) for part in (letter.key or b"").decode().split(":"))
        key = LedgerKey(tenant, connector, UUID(extensions["jobid"]), int(extensions["syncseq"]))
        number = int(extensions["jobseq"])
    except (KeyError, ValueError):
        return None
    in_range = 0 <= key.sync_seq <= 2**53 and 0 < number <= 2**53
    return (key, number) if in_range and letter.envelope.tenant == tenant else None


def moments(records: Sequence[Record[BiQueryScraped | SyncCompleted]]) -> list[datetime]:
    """When each was said. What was sent at once names its moment by the very same object."""
    found: list[datetime] = []
    written, said_at = None, None
    for record in records:
        if said_at is None or written is None or record.written_time is not written:
            written, said_at = record.written_time, record.said_at
        found.append(said_at)
    return found


def subscribe(consumers: Consumers, ingest: Ingest, tenants: Tenants) -> None:
    """Register what this service reads; records of deleted tenants are dropped."""

    async def on_bi_query_scraped(records: Sequence[Record[BiQueryScraped | SyncCompleted]]) -> None:
        await ingest.ingest([each.event for each in records], moments(records))

    async def on_bi_query_buried(letter: DeadLetter) -> None:
        place = place_of(letter)
        if place is None:
            _log.warning("dead letter belongs to no job", topic=letter.topic, offset=letter.offset)
            return
        if not await tenants.deleted([place[0].tenant_id]):
            await ingest.reject(*place)

    async def on_usage_recompute(records: Sequence[Record[UsageRecompute]]) -> None:
        await ingest.mark([each.event for each in records])

    async def on_connector_changed(records: Sequence[Record[ConnectorChanged]]) -> None:
        await ingest.follow_connectors([each.event for each in records])

    tenants.subscribe(consumers)
    for _ in range(_MEMBERS):
        consumers.subscribe(
            BI_QUERY_SCRAPED,
            BiQueryRecord,
            tenants.living(on_bi_query_scraped),
            max_records=_MAX_RECORDS,
            on_dead_letter=on_bi_query_buried,
        )
    consumers.subscribe(USAGE_RECOMPUTE, UsageRecompute, tenants.living(on_usage_recompute))
    consumers.subscribe(CONNECTOR_CHANGED, ConnectorChanged, tenants.living(on_connector_changed))
