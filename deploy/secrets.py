"""`python -m deploy.secrets DIRECTORY`: the secrets of an installation that has no secret store of its own.

One folder per process with exactly the files that it needs, each named as its variable (TIDEMARK_SECRETS_DIR).
All of them are derived from one random file, `root/seed`, so a second run writes the same again.
"""

import argparse
import base64
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from deploy.setup.settings import LOGIN_ROLES
from libs.common.services import SERVICES, dashed

KEY_ID = "k1"
DATABASE = "tidemark"
POSTGRES = "postgres:5432"
WAREHOUSE = "warehouse:5432"
SEED = Path("root") / "seed"
SEED_BYTES = 32


def encoded(raw: bytes) -> str:
    """Base64url without padding, as the settings take keys."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every secret, as a function of the seed and of where the databases are (`host:port`)."""

    seed: bytes = field(repr=False)
    postgres: str = POSTGRES
    warehouse: str = WAREHOUSE

    def derive(self, name: str) -> bytes:
        """256 bits that belong to this name."""
        return HKDF(hashes.SHA256(), length=32, salt=None, info=f"tidemark:{name}".encode()).derive(self.seed)

    def password(self, role: str) -> str:
        return encoded(self.derive(f"role:{role}"))

    def database_url(self, role: str) -> str:
        return f"postgresql://{role}:{self.password(role)}@{self.postgres}/{DATABASE}"

    def _signing_key(self) -> bytes:
        return self.derive("internal-token")

    def _public_key(self) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self._signing_key()).public_key().public_bytes_raw()

    def _jwt(self) -> str:
        return encoded(self.derive("jwt"))

    def service(self, service: str) -> dict[str, str]:
        """Of one service: its own logins and the keys that all share; the gateway also signs and verifies tokens."""
        files = {
            "TIDEMARK_API_DATABASE_URL": self.database_url(f"{service}_api"),
            "TIDEMARK_WORKER_DATABASE_URL": self.database_url(f"{service}_worker"),
            "TIDEMARK_INTERNAL_PUBLIC_KEYS": json.dumps({KEY_ID: encoded(self._public_key())}),
            "TIDEMARK_SEALING_KEYS": json.dumps({KEY_ID: encoded(self.derive("sealing"))}),
        }
        if service == "gateway":
            files["TIDEMARK_INTERNAL_KEY_ID"] = KEY_ID
            files["TIDEMARK_INTERNAL_PRIVATE_KEY"] = encoded(self._signing_key())
            files["TIDEMARK_JWT_SECRET"] = self._jwt()
        return files

    def folders(self) -> dict[str, dict[str, str]]:
        """Folder → file → content, for all processes."""
        warehouse = self.password("warehouse")
        return {
            "postgres": {"POSTGRES_PASSWORD": self.password("postgres")},
            "warehouse": {"POSTGRES_PASSWORD": warehouse},
            "setup": {
                # Said aloud, because the migration tool insists on TLS otherwise.
                "TIDEMARK_SUPERUSER_DATABASE_URL": f"{self.database_url('postgres')}?sslmode=disable",
                "TIDEMARK_ROLE_PASSWORDS": json.dumps({role: self.password(role) for role in LOGIN_ROLES}),
            },
            "cli": {
                "TIDEMARK_JWT_SECRET": self._jwt(),
                "TIDEMARK_WAREHOUSE_URL": f"postgresql://postgres:{warehouse}@{self.warehouse}/postgres",
            },
            **{dashed(service): self.service(service) for service in SERVICES},
        }


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def seed_of(directory: Path) -> bytes:
    """The directory's seed, made at the first call."""
    path = directory / SEED
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")  # never half a seed
        with open(_private(fresh), "wb") as file:
            file.write(os.urandom(SEED_BYTES))
        fresh.rename(path)
    seed = path.read_bytes()
    if len(seed) != SEED_BYTES:
        raise ValueError(f"{path} is not a seed of {SEED_BYTES} bytes")
    return seed


def write(directory: Path, folders: Mapping[str, Mapping[str, str]]) -> None:
    """Write what is missing or differs.

    The files themselves are readable, because the account that reads a mounted one is another than the one that
    writes it; the directory is closed instead.
    """
    for folder, files in folders.items():
        (directory / folder).mkdir(exist_ok=True)
        for name, content in files.items():
            path = directory / folder / name
            if path.exists() and path.read_text() == content:
                continue
            path.unlink(missing_ok=True)
            path.write_text(content)
            path.chmod(0o444)


def main(arguments: list[str]) -> int:
    """Make or complete the secrets below a directory."""
    parser = argparse.ArgumentParser(prog="python -m deploy.secrets", description="Make development secrets.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--postgres", default=POSTGRES, metavar="HOST:PORT")
    parser.add_argument("--warehouse", default=WAREHOUSE, metavar="HOST:PORT")
    chosen = parser.parse_args(arguments)
    chosen.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    secrets = Secrets(seed_of(chosen.directory), chosen.postgres, chosen.warehouse)
    write(chosen.directory, secrets.folders())
    print(f"secrets: ready in {chosen.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
