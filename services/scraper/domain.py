"""What a sync of a BI tool is, and what is kept of it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from libs.common.collecting.job import CollectingJob, joined_warnings
from libs.common.events import BiQueryScraped, BiQueryStored

LONGEST_WARNING: Final = 500
# Below what the broker takes, so that headers find room.
LARGEST_RECORD: Final = 900_000
# Names that surely fit into a record, whatever their length.
_FEW_NAMES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJob(CollectingJob):
    """One sync of one connector. Each run reads from the beginning under a `sync_seq` of its own."""

    path: ClassVar[str] = "sync-jobs"

    activity: str | None = None
    resources_scraped: int = 0
    warning_count: int = 0
    references_retired: int | None = None

    @property
    def rows_published(self) -> int:
        """Records sent by the run that counts."""
        return self.records


def warned(job: SyncJob, more: Iterable[str]) -> SyncJob:
    """With further warnings: the first 50 different ones are kept, all are counted."""
    new = [warning[:LONGEST_WARNING] for warning in more]
    return replace(job, warnings=joined_warnings(job.warnings, new), warning_count=job.warning_count + len(new))


def not_retired(stored: BiQueryStored) -> list[str]:
    """What the aggregator's outcome adds to the warnings."""
    if stored.not_retired == "empty":
        return ["The tool showed no charts and no saved queries at all: those known before were kept."]
    if stored.not_retired == "rejected":
        return [f"{stored.rejected} rows were rejected: what this sync did not see was kept."]
    return []


def fitted(record: BiQueryScraped) -> tuple[BiQueryScraped, str | None]:
    """A record that the broker takes, and a warning where it had to lose names."""
    if len(record.tables) + len(record.columns) <= _FEW_NAMES or _size(record) <= LARGEST_RECORD:
        return record, None
    smaller = record.model_copy(update={"columns": ()})
    while _size(smaller) > LARGEST_RECORD:
        smaller = smaller.model_copy(update={"tables": smaller.tables[: len(smaller.tables) // 2]})
    kind = record.resource_type.replace("_", " ")
    return smaller, f"The {kind} {record.resource_id} names more tables and columns than a record can hold."


def _size(record: BiQueryScraped) -> int:
    return len(record.model_dump_json().encode())
