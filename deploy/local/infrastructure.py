"""PostgreSQL, the demo warehouse and the broker, without the services: what tests stand on."""

import asyncio
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.accounts import shelter_of
from deploy.local.artifacts import ArtifactStore
from deploy.local.kafka import KafkaNode
from deploy.local.ports import free_ports
from deploy.local.postgres import PLATFORM_SETTINGS, WAREHOUSE_SETTINGS, PostgresCluster
from deploy.local.process import ManagedProcess, all_of
from deploy.local.secret_file import SecretFile
from deploy.local.settings import LocalSettings, setting_of

POSTGRES, WAREHOUSE, KAFKA = "postgres", "warehouse", "kafka"
SERVERS = (POSTGRES, WAREHOUSE, KAFKA)


class Infrastructure:
    """The servers of one state directory: `async with Infrastructure(settings) as servers: …`."""

    def __init__(self, settings: LocalSettings, only: tuple[str, ...] = SERVERS) -> None:
        state, secrets = settings.state_dir, SecretFile(settings.state_dir / "secrets.json")
        artifacts = ArtifactStore(settings.artifacts_dir)
        self.settings = settings
        self.only = only
        self.postgres = PostgresCluster(
            POSTGRES,
            log_of(state, POSTGRES),
            settings.postgres_port,
            state,
            secrets.get("postgres_password"),
            artifacts,
            PLATFORM_SETTINGS,
            setting_of("postgres_port"),
        )
        self.warehouse = PostgresCluster(
            WAREHOUSE,
            log_of(state, WAREHOUSE),
            settings.warehouse_port,
            state,
            secrets.get("warehouse_password"),
            artifacts,
            WAREHOUSE_SETTINGS,
            setting_of("warehouse_port"),
        )
        self.kafka = KafkaNode(
            KAFKA,
            log_of(state, KAFKA),
            settings.kafka_port,
            settings.kafka_controller_port,
            state,
            artifacts,
            settings.kafka_heap,
            setting_of("kafka_port"),
            setting_of("kafka_controller_port"),
        )

    @classmethod
    def on_free_ports(cls, state_dir: Path, only: tuple[str, ...] = SERVERS) -> Self:
        """Servers for a test: their own state directory, ports that nobody uses, the project's unpacked artifacts."""
        postgres, warehouse, kafka, controller = free_ports(4)
        settings = LocalSettings(
            state_dir=state_dir,
            postgres_port=postgres,
            warehouse_port=warehouse,
            kafka_port=kafka,
            kafka_controller_port=controller,
        )
        return cls(settings, only)

    @property
    def processes(self) -> dict[str, ManagedProcess]:
        """The chosen servers by name, in the order in which they start."""
        known: dict[str, ManagedProcess] = {POSTGRES: self.postgres, WAREHOUSE: self.warehouse, KAFKA: self.kafka}
        return {name: known[name] for name in SERVERS if name in self.only}

    async def start(self) -> None:
        """Start all at once and wait until each is ready; when one fails, none is left running."""
        try:
            await all_of(process.start() for process in self.processes.values())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self.processes.values()))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def log_of(state_dir: Path, name: str) -> Path:
    return state_dir / "log" / f"{name}.log"


def remove_state(state_dir: Path) -> None:
    """Remove the data of a stopped stack, in the state directory and in its shelter; unpacked artifacts stay."""
    shutil.rmtree(shelter_of(state_dir), ignore_errors=True)
    for path in state_dir.glob("*") if state_dir.is_dir() else ():
        if path.is_dir() and path.name != "artifacts":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
