"""Records of persons who were erased before: they leave a collecting service under the pseudonym."""

from libs.common.db import Connection
from libs.common.erasure import ErasedNames
from libs.common.events import BiQueryScraped


async def without_erased(
    connection: Connection, erased: ErasedNames, records: list[BiQueryScraped]
) -> list[BiQueryScraped]:
    """New records, with pseudonyms in the place of erased names."""
    people = {(record.tenant, record.executed_by) for record in records if record.executed_by}
    pseudonyms = await erased.pseudonyms(connection, people)
    if not pseudonyms:
        return records
    return [_renamed(record, pseudonyms.get((record.tenant, record.executed_by or ""))) for record in records]


def _renamed(record: BiQueryScraped, pseudonym: str | None) -> BiQueryScraped:
    return record if pseudonym is None else record.model_copy(update={"executed_by": pseudonym})
