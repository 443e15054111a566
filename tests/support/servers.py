"""The real servers that a test run stands on: from the environment, from containers, or from the local stack."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.infrastructure import Infrastructure, remove_state
from deploy.local.kafka import KafkaNode


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses: administrator URLs of the platform's and the warehouse's cluster, and the broker."""

    postgres: str = field(repr=False)
    warehouse: str = field(repr=False)
    kafka: str
    broker: KafkaNode | None = field(default=None, repr=False)  # where the run itself started it, and may kill it


def _from_environment() -> Servers | None:
    """Servers that somebody already runs (`TEST_POSTGRES`, `TEST_WAREHOUSE`, `TEST_KAFKA`): quick while developing."""
    names = ("TEST_POSTGRES", "TEST_WAREHOUSE", "TEST_KAFKA")
    if not all(name in os.environ for name in names):
        return None
    postgres, warehouse, kafka = (os.environ[name] for name in names)
    return Servers(postgres, warehouse, kafka)


def docker_answers() -> bool:
    """Whether a Docker engine is at hand. Without its socket no client is made: one that fails leaks a socket."""
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    import docker

    try:
        with closing(docker.from_env(timeout=2)) as client:
            return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False


@asynccontextmanager
async def _in_containers() -> AsyncIterator[Servers]:
    from testcontainers.kafka import KafkaContainer
    from testcontainers.postgres import PostgresContainer

    csvlog = (
        "postgres -c logging_collector=on -c log_destination=csvlog -c log_min_duration_statement=0"
        " -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=20000"
    )
    with (
        PostgresContainer("postgres:18", driver=None) as platform,
        PostgresContainer("postgres:18", driver=None).with_command(csvlog) as warehouse,
        KafkaContainer("apache/kafka:4.1.0").with_kraft() as kafka,
    ):
        yield Servers(platform.get_connection_url(), warehouse.get_connection_url(), str(kafka.get_bootstrap_server()))


@asynccontextmanager
async def _on_this_machine() -> AsyncIterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="tidemark-test-") as folder:
        state = Path(folder)
        try:
            async with Infrastructure.on_free_ports(state) as running:
                yield Servers(
                    running.postgres.dsn("postgres"),
                    running.warehouse.dsn("postgres"),
                    running.kafka.bootstrap_servers,
                    running.kafka,
                )
        finally:
            remove_state(state)


@asynccontextmanager
async def running_servers() -> AsyncIterator[Servers]:
    """The servers of one test run; those that it started are gone at the end."""
    given = _from_environment()
    if given:
        yield given
    elif docker_answers():
        async with _in_containers() as servers:
            yield servers
    else:
        async with _on_this_machine() as servers:
            yield servers
