"""Use case of erasures: walks all records of a tenant once and puts the pseudonym where the name stood."""

from uuid import UUID

from libs.common.erasure import Erasure
from libs.common.erasure_pages import PagedRewriting
from services.aggregator.store import counters, locks, records
from services.aggregator.store import erasure as store


class Rewriting(PagedRewriting[str]):
    """All tables that hold names; counters of users move with them."""

    _tables = store.NAMED

    async def _page(self, table: str, erasure: Erasure, after: UUID | None) -> UUID | None:
        async with self._database.work() as connection:
            # Ingests write the same rows in another order.
            await locks.change_claims(connection, erasure.tenant)
            await records.open_changes(connection)
            page = await store.rewrite_page(connection, table, erasure, after, self._page_rows)
            if page.changed:
                await counters.move(connection)
            return page.last
