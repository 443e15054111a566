"""The log of a warehouse's server, which a process of its own writes behind the statements."""

import asyncio
from pathlib import Path
from uuid import uuid4

import asyncpg

from libs.common.db import Connection
from tests.support.processes import eventually

_CURRENT = "SELECT pg_current_logfile('csvlog')"
_SIZE = "SELECT (pg_stat_file($1)).size"
_HOLDS = """SELECT position($2::bytea IN pg_read_binary_file($1, $3, greatest((pg_stat_file($1)).size - $3, 0))) > 0"""


async def logged(admin_url: str) -> None:
    """Wait until the log holds all that was logged before: what comes behind a mark was written behind it."""
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute("SET log_min_duration_statement = -1; SET log_min_error_statement = panic")
        first, mark = await admin.fetchval(_CURRENT), uuid4().hex
        size = await admin.fetchval(_SIZE, first)
        await admin.execute(f"DO $$ BEGIN RAISE LOG 'mark {mark}'; END $$")

        async def written() -> bool:
            """The mark stands in the log."""
            now = await admin.fetchval(_CURRENT)
            places = {first: size, now: size if now == first else 0}
            found = [await admin.fetchval(_HOLDS, name, mark.encode(), at) for name, at in places.items()]
            return any(found)

        await eventually(written, pause=0.02)
    finally:
        await admin.close()


async def begin_file(admin: Connection) -> Path:
    """A log file that has just been begun, which the server will not leave for its next ten megabytes."""
    before = await admin.fetchval(_CURRENT)
    await asyncio.sleep(1.1)  # file names are exact to the second
    await admin.execute("SELECT pg_rotate_logfile()")

    async def begun() -> bool:
        """Another file is written to."""
        return bool(await admin.fetchval(_CURRENT) != before)

    await eventually(begun, pause=0.02)
    return Path(await admin.fetchval(f"SELECT current_setting('data_directory') || '/' || ({_CURRENT})"))
