"""Records that wait to be sent, packed for storing: what those of a pattern share stands once. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct, structs
from msgspec.json import Decoder, Encoder

from libs.common.events import BiQueryScraped


class _Row(Struct, frozen=True, array_like=True, gc=False):
    """A record by the number of the one that it is like, and what it has of its own."""

    like: int
    id: UUID
    job_seq: int | None
    resource_id: str
    executed_by: str | None
    executed_at: datetime | None
    execution_count: int


class _Packed(Struct, frozen=True, array_like=True, gc=False):
    """The first record of each pattern, and a row for every record."""

    patterns: list[BiQueryScraped]
    rows: list[_Row]


_encoder: Final = Encoder()
_decoder: Final = Decoder(_Packed)


def pack(records: Sequence[BiQueryScraped]) -> str:
    """The records as JSON. A job's records differ in their pattern and in what a row holds, in nothing else."""
    numbers: dict[tuple[object, ...], int] = {}
    patterns: list[BiQueryScraped] = []
    rows: list[_Row] = []
    for record in records:
        # Equal tables of different objects only make one pattern more.
        key = record.sql_text, record.sql_truncated, id(record.tables), id(record.columns)
        like = numbers.setdefault(key, len(patterns))
        if like == len(patterns):
            patterns.append(record)
        rows.append(
            _Row(
                like,
                record.id,
                record.job_seq,
                record.resource_id,
                record.executed_by,
                record.executed_at,
                record.execution_count,
            )
        )
    return _encoder.encode(_Packed(patterns, rows)).decode()


def unpack(packed: str) -> list[BiQueryScraped]:
    """The records that were packed, the same to the byte."""
    found = _decoder.decode(packed)
    return [_record(found.patterns[row.like], row) for row in found.rows]


def _record(like: BiQueryScraped, row: _Row) -> BiQueryScraped:
    return structs.replace(
        like,
        id=row.id,
        job_seq=row.job_seq,
        resource_id=row.resource_id,
        executed_by=row.executed_by,
        executed_at=row.executed_at,
        execution_count=row.execution_count,
    )


def written(text: str) -> str:
    """A text as it stands in packed records."""
    return _encoder.encode(text).decode()
