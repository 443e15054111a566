"""Use case of erasures: jobs that a person asked for, and records of the person that wait to be sent."""

from dataclasses import dataclass, replace

from libs.common.db import Database
from libs.common.erasure import Erasure
from libs.common.events import BiQueryScraped
from libs.common.scraped_reading import read_bi_query
from services.log_miner.packing import pack, unpack, written
from services.log_miner.store import JOBS, previous, unsent


@dataclass(frozen=True, slots=True)
class Rewriting:
    """There are few of these rows: one transaction for all."""

    database: Database

    async def __call__(self, erasure: Erasure) -> bool:
        """Put the pseudonym where the name stands."""
        async with self.database.work() as connection:
            await JOBS.rename_requester(connection, erasure.tenant, erasure.name, erasure.pseudonym)
            name = written(erasure.name)
            for batch in await unsent.lock_holding(connection, erasure.tenant, name):
                body = pack([renamed(record, erasure) for record in unpack(batch.body)])
                await unsent.replace(connection, erasure.tenant, replace(batch, body=body))
            for one in await previous.lock_holding(connection, erasure.tenant, name):
                record = renamed(read_bi_query(one.record), erasure).model_dump_json()
                await previous.replace(connection, erasure.tenant, replace(one, record=record))
        return True


def renamed(record: BiQueryScraped, erasure: Erasure) -> BiQueryScraped:
    """The record under the pseudonym, where it is the person's."""
    is_hers = record.executed_by == erasure.name
    return record.model_copy(update={"executed_by": erasure.pseudonym}) if is_hers else record
