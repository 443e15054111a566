"""One Apache Kafka node in KRaft mode, broker and controller in one process, on 127.0.0.1."""

import asyncio
import base64
import contextlib
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.local.artifacts import ArtifactStore, java
from deploy.local.errors import PreparationFailed
from deploy.local.ports import accepts
from deploy.local.postgres import server_environment
from deploy.local.process import Launch, ManagedProcess, PortClaim

FORMAT_SECONDS = 120
HEAP = "256m"
# One node: every internal topic has one replica and few partitions. Sessions and rebalances are short, since
# tests kill consumers and wait for the others to take over.
FIXED_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
auto.create.topics.enable=false
num.partitions=3
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
num.io.threads=4
num.network.threads=2
background.threads=2
"""
LOG4J = """
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


@dataclass(eq=False)
class KafkaNode(ManagedProcess):
    """The broker; its storage is formatted once and kept in the state directory between starts."""

    port: int
    controller_port: int
    state_dir: Path
    artifacts: ArtifactStore
    heap: str = HEAP
    port_setting: str = ""
    controller_port_setting: str = ""

    @property
    def data_dir(self) -> Path:
        return self.state_dir / self.name

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def launch(self) -> Launch:
        jars = await asyncio.to_thread(self.artifacts.kafka)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        properties = self._write_configuration()
        if not (self.data_dir / "formatted").exists():
            await asyncio.to_thread(self._format, jars, properties)
        return Launch(
            command=(*self._java(jars), "kafka.Kafka", str(properties)),
            env=server_environment(),
            cwd=self.data_dir,
            ports=(
                PortClaim(self.port, self.port_setting),
                PortClaim(self.controller_port, self.controller_port_setting),
            ),
            stop_budget=15.0,
            ready_timeout=180.0,
        )

    async def ready(self) -> bool:
        """True when a metadata request names a live broker; an open port alone says less."""
        if not accepts(self.port):  # asked first, because the client logs each refused connection as an error
            return False
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=3000)
        try:
            await client.bootstrap()
            return bool(client.cluster.brokers())
        except (KafkaError, OSError):
            return False
        finally:
            with contextlib.suppress(KafkaError, OSError):
                await client.close()

    def _write_configuration(self) -> Path:
        (self.data_dir / "log4j2.properties").write_text(LOG4J)
        listeners = f"PLAINTEXT://127.0.0.1:{self.port}"
        properties = self.data_dir / "server.properties"
        properties.write_text(
            f"{FIXED_PROPERTIES}"
            f"listeners={listeners},CONTROLLER://127.0.0.1:{self.controller_port}\n"
            f"advertised.listeners={listeners}\n"
            # A static voter: with a dynamic quorum the ports would be part of the stored state.
            f"controller.quorum.voters=1@127.0.0.1:{self.controller_port}\n"
            f"log.dirs={self.data_dir / 'data'}\n"
        )
        return properties

    def _java(self, jars: Path) -> tuple[str, ...]:
        # The first compiler alone: a third less work until the broker is ready, which is what a small machine feels.
        options = (f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
        logging = f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.properties'}"
        return (str(java()), *options, logging, "-cp", f"{jars}/*")

    def _format(self, jars: Path, properties: Path) -> None:
        shutil.rmtree(self.data_dir / "data", ignore_errors=True)  # what an interrupted run left
        command = (*self._java(jars), "kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(properties))
        done = subprocess.run(
            command,
            env=server_environment(),
            cwd=self.data_dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FORMAT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise PreparationFailed(self.name, "format", done.stderr or done.stdout)
        (self.data_dir / "formatted").touch()


def cluster_id() -> str:
    """A random id as Kafka writes it: 22 characters of base64, not beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
