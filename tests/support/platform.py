"""One installation for one test module: a database of its own, topics of its own, keys, settings of each service."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.setup.bootstrap import bootstrap, grant_database, with_database
from deploy.setup.migrate import migrate
from deploy.setup.settings import LOGIN_ROLES, Settings
from deploy.setup.topics import create_topics, wanted
from libs.common.auth import InternalSigner, Principal
from libs.common.sealed import encode
from tests.support.servers import Servers

_PASSWORD = "test-only-"
JWT_SECRET = "test-only-secret-of-at-least-32-bytes"
SEALING_KEY = encode(bytes(range(32)))
KEY_ID = "test"


def _role_url(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{_PASSWORD}{role}@{parts.hostname}:{parts.port}"))


@dataclass(frozen=True, slots=True)
class Platform:
    """What a service's settings are made of. `admin_url` is the administrator's login to the module's database."""

    admin_url: str = field(repr=False)
    kafka: str
    topic_prefix: str
    signing_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def api_url(self, service: str) -> str:
        return _role_url(self.admin_url, f"{service}_api")

    def worker_url(self, service: str) -> str:
        return _role_url(self.admin_url, f"{service}_worker")

    @property
    def signer(self) -> InternalSigner:
        """Mints the internal tokens that the services of this module accept."""
        return InternalSigner(KEY_ID, self.signing_key)

    def bearer(self, tenant: UUID, **claims: object) -> dict[str, str]:
        """Headers of a request as the gateway would send it inward."""
        principal = Principal(tenant=tenant, subject="test-user", **claims)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {self.signer.mint(principal)}"}

    def environment(self, service: str, port: int = 1, **more: str) -> dict[str, str]:
        """Environment variables of one service's process; `more` by their full names."""
        public = self.signing_key.public_key().public_bytes_raw()
        return {
            "TIDEMARK_KAFKA": self.kafka,
            "TIDEMARK_TOPIC_PREFIX": self.topic_prefix,
            "TIDEMARK_HTTP_PORT": str(port),
            "TIDEMARK_API_DATABASE_URL": self.api_url(service),
            "TIDEMARK_WORKER_DATABASE_URL": self.worker_url(service),
            "TIDEMARK_INTERNAL_PUBLIC_KEYS": json.dumps({KEY_ID: encode(public)}),
            "TIDEMARK_SEALING_KEYS": json.dumps({"k1": SEALING_KEY}),
            "TIDEMARK_EGRESS_ALLOW": '["127.0.0.0/8"]',
            **more,
        }

    def gateway_environment(self, port: int, upstreams: Mapping[str, int]) -> dict[str, str]:
        """Environment of the gateway's process, in front of services on these local ports."""
        return self.environment(
            "gateway",
            port,
            TIDEMARK_INTERNAL_KEY_ID=KEY_ID,
            TIDEMARK_INTERNAL_PRIVATE_KEY=encode(self.signing_key.private_bytes_raw()),
            TIDEMARK_JWT_SECRET=JWT_SECRET,
            TIDEMARK_UPSTREAMS=json.dumps({name: f"http://127.0.0.1:{at}" for name, at in upstreams.items()}),
        )

    def settings_values(self, service: str, **more: object) -> dict[str, object]:
        """Keyword arguments for a service's Settings class (a test in the same process)."""
        return values_of(self.environment(service)) | more


def values_of(environment: Mapping[str, str]) -> dict[str, object]:
    """An environment as keyword arguments of a Settings class."""
    values: dict[str, object] = {}
    for name, text in environment.items():
        key = name.removeprefix("TIDEMARK_").lower()
        values[key] = json.loads(text) if text.startswith(("{", "[")) else text
    return values


def setup_settings(url: str, servers: Servers) -> Settings:
    passwords = {role: f"{_PASSWORD}{role}" for role in LOGIN_ROLES}
    return Settings.model_validate({"superuser_database_url": url, "role_passwords": passwords, "kafka": servers.kafka})


@asynccontextmanager
async def _administrator(servers: Servers) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(with_database(servers.postgres, "postgres"))
    try:
        yield connection
    finally:
        await connection.close()


async def _drop_database(servers: Servers, name: str) -> None:
    """With the logins that its tenants were given: roles belong to the whole server."""
    async with _administrator(servers) as admin:
        inside = await asyncpg.connect(with_database(servers.postgres, name))
        schemas = await inside.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ '^tenant_[0-9a-f]{32}$'")
        await inside.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for row in schemas:
            await admin.execute(f"DROP ROLE IF EXISTS {row['nspname']}")


@asynccontextmanager
async def template_database(servers: Servers) -> AsyncIterator[str]:
    """A migrated database, made once a run, of which each module gets a copy."""
    name = f"tidemark_template_{os.getpid()}"
    settings = setup_settings(with_database(servers.postgres, name), servers)
    await bootstrap(settings)
    migrate(settings)
    yield name
    await _drop_database(servers, name)


@asynccontextmanager
async def fresh_platform(servers: Servers, template: str) -> AsyncIterator[Platform]:
    """A copy of the template and topics under a fresh prefix."""
    name = f"tidemark_{uuid4().hex[:12]}"
    async with _administrator(servers) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await grant_database(admin, name)
    prefix = f"{name}."
    topics = wanted(prefix, replication=1, max_partitions=2)
    await create_topics(servers.kafka, topics)
    yield Platform(with_database(servers.postgres, name), servers.kafka, prefix)
    await _drop_database(servers, name)
    await _delete_topics(servers, [topic.name for topic in topics])


async def _delete_topics(servers: Servers, names: list[str]) -> None:
    """Every client of the broker is told of all topics: those of modules that are over make it slow for the others."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    try:
        await admin.delete_topics(names)
    finally:
        await admin.close()
