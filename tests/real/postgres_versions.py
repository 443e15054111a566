"""Older servers to mine: their files, pinned by `postgres_versions.lock.toml`.

`python -m tests.real.postgres_versions` writes that file (needs the network).
"""

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from deploy.local.artifacts import ArtifactStore, Platform, platform_of, read_lock, unpack_postgres
from deploy.local.infrastructure import remove_state
from deploy.local.ports import free_port
from deploy.local.postgres import PostgresCluster
from deploy.local.settings import LocalSettings

LOCK = Path(__file__).with_name("postgres_versions.lock.toml")
TOO_OLD = "12.22.0"
VERSIONS = ("13.23.0", "14.24.0", "15.19.0", "16.15.0", "17.11.0")
PLATFORMS = (Platform.LINUX_AMD64,)


def runs_here() -> bool:
    """Whether these servers exist for this machine."""
    return platform_of(platform.system(), platform.machine()) in PLATFORMS


@dataclass(frozen=True, slots=True)
class PinnedPostgres(ArtifactStore):
    """The project's artifacts with another PostgreSQL."""

    version: str = ""

    def postgres(self) -> Path:
        chosen = platform_of(platform.system(), platform.machine())
        return self._unpacked(read_lock(f"{self.version}-{chosen.value}", LOCK), unpack_postgres)


@asynccontextmanager
async def older_server(version: str, state: Path) -> AsyncIterator[PostgresCluster]:
    """A server of a version with pg_stat_statements loaded; gone at the end."""
    artifacts = PinnedPostgres(LocalSettings(state_dir=state).artifacts_dir, version=version)
    settings = {"max_connections": "20", "pg_stat_statements.max": "200"}
    server = PostgresCluster(
        f"postgres-{version}",
        state / "log",
        free_port(),
        state,
        uuid4().hex,
        artifacts,
        settings,
        initdb_options=("--locale=C",),
    )
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        remove_state(state)


def main() -> None:
    """Pin the files."""
    from jgo.maven import MavenContext

    from deploy.local.lock import table

    context = MavenContext(local_repos=[])
    group = "io.zonky.test.postgres:embedded-postgres-binaries"
    tables = [
        table(f'"{version}-{each.value}"', version, context, [f"{group}-{each.value}:{version}"])
        for version in (TOO_OLD, *VERSIONS)
        for each in PLATFORMS
    ]
    LOCK.write_text("# Written by `python -m tests.real.postgres_versions`.\n\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
