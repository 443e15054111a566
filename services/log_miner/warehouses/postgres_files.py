"""Reading csvlog files through pg_read_binary_file: byte offsets, whole records, rotation."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.common.db import Connection
from services.log_miner.warehouses.csv_records import LogLine, certain_start, parse_records
from services.log_miner.warehouses.interface import Cursor, Position

# Some thousand records: what a batch costs once is little for each of them.
_CHUNK_BYTES = 4 * 1024 * 1024
_LONGEST_RECORD_BYTES = 32 * 1024 * 1024
_HEAD_BYTES = 256
# Servers show modification times in whole seconds, and file systems lag.
_MODIFIED_SLACK = timedelta(minutes=1)

_FILES = (
    "SELECT /* tidemark lists log files */ name, size, modification FROM pg_ls_logdir() "
    "WHERE name LIKE '%.csv' ORDER BY modification, name"
)
# The binary form: a cut may fall inside a character.
_READ = """SELECT /* tidemark reads the log */
    pg_read_binary_file(current_setting('log_directory') || '/' || $1, $2, $3, true)"""


@dataclass(frozen=True, slots=True)
class Read:
    """Lines of one part of the log and the place behind them; None as position: the part is gone."""

    part: str
    lines: tuple[LogLine, ...]
    position: Position | None
    progress: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    size: int
    modified: datetime


@dataclass(slots=True)
class _Place:
    """Where reading stands in one file. `head` is a hash of its first bytes: a file that is reused has another."""

    offset: int = 0
    head: str = ""
    head_bytes: int = 0

    def position(self, size: int) -> Position:
        return {"offset": self.offset, "size": size, "head": self.head, "head_bytes": self.head_bytes}


class FileLog:
    """All csvlog files of a server, oldest first, each to the end that it had when the reading began."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, cursor: Cursor, since: datetime | None) -> AsyncIterator[Read]:
        """What the files gained after `cursor`. Files not touched after `since` are passed over."""
        files = [_File(*row) for row in await self._connection.fetch(_FILES)]
        for gone in cursor.keys() - {file.name for file in files}:
            yield Read(gone, (), None, 0.0, _loss(gone, cursor[gone]))
        total = sum(file.size for file in files) or 1
        done = 0
        for file in files:
            if since and file.modified < since - _MODIFIED_SLACK and file.name not in cursor:
                yield Read(file.name, (), _Place(file.size).position(file.size), (done + file.size) / total)
            else:
                async for read in self._file(file, cursor.get(file.name), done, total):
                    yield read
            done += file.size

    async def _file(self, file: _File, known: Position | None, done: int, total: int) -> AsyncIterator[Read]:
        place, warnings = await self._place(file, known)
        want = _CHUNK_BYTES
        while place.offset < file.size:
            data = await self._bytes(file.name, place.offset, min(want, file.size - place.offset))
            if data is None:
                yield Read(file.name, (), None, 0.0, (*warnings, _removed(file.name)))
                return
            records = await asyncio.to_thread(parse_records, data)
            if records.consumed == 0:
                if place.offset + len(data) >= file.size or not data:
                    break  # the last record is being written
                want *= 2
                if want > _LONGEST_RECORD_BYTES:
                    place.offset = await self._behind_long_record(file, place.offset + len(data))
                    warnings = (*warnings, f"a record of more than 32 MiB in {file.name} was passed over")
                continue
            want = _CHUNK_BYTES
            if not place.offset:
                place.head_bytes = min(_HEAD_BYTES, records.consumed)
                place.head = _hash(data[: place.head_bytes])
            place.offset += records.consumed
            if records.unreadable:
                warnings = (*warnings, f"{records.unreadable} unreadable records in {file.name}")
            progress = (done + place.offset) / total
            yield Read(file.name, records.lines, place.position(file.size), progress, warnings)
            warnings = ()
        if warnings:
            yield Read(file.name, (), place.position(file.size), (done + place.offset) / total, warnings)

    async def _place(self, file: _File, known: Position | None) -> tuple[_Place, tuple[str, ...]]:
        """Where to go on; at the start of a file that is not the one that was read before."""
        if known is None:
            return _Place(), ()
        place = _Place(known["offset"], known["head"], known["head_bytes"])
        if file.size < place.offset:
            return _Place(), (f"log file {file.name} was truncated; what it had gained before may be lost",)
        if place.head_bytes:
            head = await self._bytes(file.name, 0, place.head_bytes)
            if head is not None and _hash(head) != place.head:
                return _Place(), (f"log file {file.name} was replaced; it is read from its start",)
        return place, ()

    async def _behind_long_record(self, file: _File, offset: int) -> int:
        while offset < file.size:
            data = await self._bytes(file.name, offset, min(_CHUNK_BYTES, file.size - offset))
            if not data:
                break
            found = certain_start(data)
            if found is not None:
                return offset + found
            offset += max(len(data) - _HEAD_BYTES, 1) if len(data) == _CHUNK_BYTES else len(data)
        return file.size

    async def _bytes(self, name: str, offset: int, length: int) -> bytes | None:
        data: bytes | None = await self._connection.fetchval(_READ, name, offset, length)
        return data


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _removed(name: str) -> str:
    return f"log file {name} was removed while it was read; what it still held is lost"


def _loss(name: str, position: Mapping[str, int]) -> tuple[str, ...]:
    unread = position["size"] - position["offset"]
    return (f"log file {name} was removed; its last {unread} known bytes were not read",) if unread > 0 else ()
