"""Use case of erasures: jobs that a person asked for, and records of the person that wait to be sent."""

from dataclasses import dataclass, replace

from libs.common.db import Database
from libs.common.erasure import Erasure
from libs.common.events import BiQueryScraped
from libs.common.scraped_reading import read_bi_query
from services.log_miner import store, store_previous
from services.log_miner.store import JOBS
from services.log_miner.unsent import pack, unpack, written


@dataclass(frozen=True, slots=True)
class Rewriting:
    """There are few of these rows: one transaction for all."""

    database: Database

    async def __call__(self, erasure: Erasure) -> bool:
        """Put the pseudonym where the name stands."""
        async with self.database.work() as connection:
            await JOBS.rename_requester(connection, erasure.tenant, erasure.name, erasure.pseudonym)
            name = written(erasure.name)
            for batch in await store.lock_unsent_holding(connection, erasure.tenant, name):
                body = pack([renamed(record, erasure) for record in unpack(batch.body)])
                await store.replace_unsent(connection, erasure.tenant, replace(batch, body=body))
            for unsent in await store_previous.lock_holding(connection, erasure.tenant, name):
                record = renamed(read_bi_query(unsent.record), erasure).model_dump_json()
                await store_previous.replace(connection, erasure.tenant, replace(unsent, record=record))
        return True


def renamed(record: BiQueryScraped, erasure: Erasure) -> BiQueryScraped:
    """The record under the pseudonym, where it is the person's."""
    is_hers = record.executed_by == erasure.name
    return record.model_copy(update={"executed_by": erasure.pseudonym}) if is_hers else record
