"""The environment of each process of a local stack: addresses, logins, keys and the shifted clock."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.local.errors import LocalStackError
from deploy.local.infrastructure import Infrastructure
from deploy.local.secret_file import SecretFile
from deploy.local.settings import LocalSettings
from libs.common.services import SERVICES

DATABASE = "tidemark"
KEY_ID = "local-1"
JWT_ISSUER = JWT_AUDIENCE = "tidemark"
# What must not leak from the caller into services: bytecode is written, or every start compiles all packages anew.
DROPPED = frozenset({"PYTHONDONTWRITEBYTECODE", "TIDEMARK_CLOCK"})


def service_port(settings: LocalSettings, service: str) -> int:
    port: int = getattr(settings, f"{service}_port")
    return port


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def public_key(private_key: str) -> str:
    """The raw public half of a raw Ed25519 private key, both base64url."""
    raw = base64.urlsafe_b64decode(private_key + "=" * (-len(private_key) % 4))
    return base64url(Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Environment:
    """Builds environments; what the operator exported (log level, tracing) stays unless the stack decides it."""

    infrastructure: Infrastructure
    secrets: SecretFile
    clock_offset: float

    @property
    def settings(self) -> LocalSettings:
        return self.infrastructure.settings

    def common(self) -> dict[str, str]:
        """For every process."""
        inherited = {name: value for name, value in os.environ.items() if name not in DROPPED}
        return inherited | {
            "PYTHONUNBUFFERED": "1",
            **self._shared(),
        }

    def setup(self) -> dict[str, str]:
        """For the setup step: the superuser and the passwords of the login roles that it makes."""
        roles = [role(service, kind) for service in SERVICES for kind in ("api", "worker")]
        return self.common() | {
            "TIDEMARK_SUPERUSER_DATABASE_URL": self.infrastructure.postgres.dsn(DATABASE),
            "TIDEMARK_ROLE_PASSWORDS": json.dumps({name: self._password(name) for name in roles}),
        }

    def service(self, service: str, port: int) -> dict[str, str]:
        """For one replica of a service."""
        extra = self._gateway() if service == "gateway" else {}
        return self.common() | {
            "TIDEMARK_HTTP_HOST": "127.0.0.1",
            "TIDEMARK_HTTP_PORT": str(port),
            "TIDEMARK_API_DATABASE_URL": self._database_url(role(service, "api")),
            "TIDEMARK_WORKER_DATABASE_URL": self._database_url(role(service, "worker")),
            "TIDEMARK_INTERNAL_PUBLIC_KEYS": json.dumps({KEY_ID: public_key(self._signing_key())}),
            "TIDEMARK_SEALING_KEYS": json.dumps({KEY_ID: self._sealing_key()}),
            # Local warehouses are on the loopback address, which the egress policy refuses by default.
            "TIDEMARK_EGRESS_ALLOW": json.dumps(["127.0.0.0/8"]),
            **extra,
        }

    def operator(self) -> dict[str, str]:
        """For the person at the keyboard and their tools (`operator.env`): where the stack is, how to make tokens."""
        return {
            "TIDEMARK_GATEWAY_URL": f"http://127.0.0.1:{self.settings.gateway_port}",
            **self._shared(),
            "TIDEMARK_WAREHOUSE_URL": self.infrastructure.warehouse.dsn(),
            "TIDEMARK_SUPERUSER_DATABASE_URL": self.infrastructure.postgres.dsn(DATABASE),
            **self._jwt(),
        }

    def _shared(self) -> dict[str, str]:
        return {
            "TIDEMARK_KAFKA": self.infrastructure.kafka.bootstrap_servers,
            "TIDEMARK_TOPIC_PREFIX": os.environ.get("TIDEMARK_TOPIC_PREFIX", ""),
            "TIDEMARK_CLOCK_OFFSET": str(self.clock_offset),
        }

    def _gateway(self) -> dict[str, str]:
        upstreams = {s: f"http://127.0.0.1:{service_port(self.settings, s)}" for s in SERVICES if s != "gateway"}
        return {
            "TIDEMARK_UPSTREAMS": json.dumps(upstreams),
            "TIDEMARK_INTERNAL_KEY_ID": KEY_ID,
            "TIDEMARK_INTERNAL_PRIVATE_KEY": self._signing_key(),
            **self._jwt(),
        }

    def _jwt(self) -> dict[str, str]:
        return {
            "TIDEMARK_JWT_ISSUER": JWT_ISSUER,
            "TIDEMARK_JWT_AUDIENCE": JWT_AUDIENCE,
            "TIDEMARK_JWT_SECRET": self.secrets.get("jwt_secret", lambda: base64url(os.urandom(32))),
        }

    def _signing_key(self) -> str:
        return self.secrets.get("internal_private_key", lambda: base64url(os.urandom(32)))

    def _sealing_key(self) -> str:
        return self.secrets.get("sealing_key", lambda: base64url(os.urandom(32)))

    def _password(self, login: str) -> str:
        return self.secrets.get(f"role_{login}")

    def _database_url(self, login: str) -> str:
        port = self.settings.postgres_port
        return f"postgresql://{login}:{self._password(login)}@127.0.0.1:{port}/{DATABASE}"


def role(service: str, kind: str) -> str:
    return f"{service}_{kind}"


def clock_offset(wanted: str | None, stored: Path, now: datetime) -> float:
    """Seconds from real time to business time that starts at `wanted` (RFC 3339), 0 without it.

    The offset is kept beside the data: a stack that starts again with the same wish goes on where its clock
    would be, not back to where it began.
    """
    if not wanted:
        stored.unlink(missing_ok=True)
        return 0.0
    if stored.exists():
        known: Mapping[str, object] = json.loads(stored.read_text())
        if known["clock"] == wanted:
            return float(str(known["offset"]))
    offset = (parse_clock(wanted) - now).total_seconds()
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps({"clock": wanted, "offset": offset}))
    return offset


def parse_clock(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise LocalStackError(f"TIDEMARK_CLOCK is {text!r}; write it like 2026-03-18T15:30:00Z")
    return moment
