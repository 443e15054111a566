"""Use case of erasures: walks all rows of a tenant once and puts the pseudonym where the name stood."""

from uuid import UUID

from libs.common.erasure import Erasure
from libs.common.erasure_pages import PagedRewriting
from services.reporting.store import erasure as store
from services.reporting.store import locks


class Rewriting(PagedRewriting[store.Table]):
    """All tables that hold names."""

    _tables = store.TABLES

    async def _page(self, table: store.Table, erasure: Erasure, after: UUID | None) -> UUID | None:
        async with self._database.work() as connection:
            # What is folded meanwhile would come from states that still hold the name.
            await locks.hold_tenant(connection, erasure.tenant)
            return await store.rewrite_page(connection, table, erasure, after, self._page_rows)
