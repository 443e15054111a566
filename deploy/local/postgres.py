"""A PostgreSQL cluster on a port of 127.0.0.1."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from deploy.local.accounts import Account, reachable_tree, server_account, server_directory
from deploy.local.artifacts import ArtifactStore
from deploy.local.errors import PreparationFailed
from deploy.local.process import Launch, ManagedProcess, PortClaim

SUPERUSER = "postgres"
INITDB_SECONDS = 120
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "128MB",
    # Only a crash of the machine needs fsync; kill -9 of the server does not, since the kernel keeps what was
    # written. synchronous_commit and full_page_writes stay on: those two do matter when the server is killed.
    "fsync": "off",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
PLATFORM_SETTINGS: Mapping[str, str] = {"max_connections": "300"}
WAREHOUSE_SETTINGS: Mapping[str, str] = {
    "logging_collector": "on",
    "log_destination": "csvlog",
    "log_directory": "log",
    "log_filename": "postgresql-%Y-%m-%d_%H%M%S.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "10MB",
    "log_min_duration_statement": "0",
    "compute_query_id": "on",
    # An entry that makes room is a count that is lost: whoever runs many statements of many databases needs more.
    "pg_stat_statements.max": "20000",
}


# The builtin locale provider is the same on every platform.
INITDB_OPTIONS = ("--no-instructions", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


@dataclass(eq=False)
class PostgresCluster(ManagedProcess):
    """One cluster: made by initdb at the first start, its data kept between starts."""

    port: int
    state_dir: Path
    password: str = field(repr=False)
    artifacts: ArtifactStore
    settings: Mapping[str, str]
    port_setting: str = ""
    initdb_options: Sequence[str] = INITDB_OPTIONS

    @property
    def data_dir(self) -> Path:
        """Where the cluster's files are, which is not always below the state directory (see accounts)."""
        return server_directory(self.state_dir, server_account()) / self.name

    def dsn(self, database: str = "postgres") -> str:
        """The superuser's address of a database of this cluster (a secret)."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    async def launch(self) -> Launch:
        account, data = server_account(), self.data_dir
        home = reachable_tree(await asyncio.to_thread(self.artifacts.postgres), data.parent, account)
        if not data.is_dir():
            await asyncio.to_thread(self._initdb, home, data, account)
        settings = {**SETTINGS, **self.settings, "port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            command=(str(home / "bin" / "postgres"), "-D", str(data), *options),
            env=server_environment(),
            cwd=data,
            ports=(PortClaim(self.port, self.port_setting),),
            account=account,
            stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
            death_signal=signal.SIGQUIT,  # "immediate": its children end too, even in the middle of a statement
        )

    async def ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.dsn(), timeout=5)
        except asyncpg.InvalidPasswordError:
            raise PreparationFailed(self.name, "login", "its data has another password; `make reset`") from None
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await connection.close()
        return True

    def _initdb(self, home: Path, data: Path, account: Account | None) -> None:
        fresh = data.with_name(f"{data.name}.new")  # renamed when complete
        with prepared_directory(fresh, account), password_file(self.password, fresh.parent, account) as password:
            command = [home / "bin" / "initdb", "-D", fresh, "-U", SUPERUSER, "--auth=scram-sha-256"]
            command += [f"--pwfile={password}", "-E", "UTF8", "--no-sync", *self.initdb_options]
            run_as(account, [str(word) for word in command], fresh, self.name)
            fresh.rename(data)


def server_environment() -> dict[str, str]:
    """Nothing of the caller's environment reaches a server: it may hold secrets or PG* variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


@contextmanager
def prepared_directory(path: Path, account: Account | None) -> Iterator[None]:
    """An empty directory of the account; what an interrupted run left is removed first."""
    subprocess.run(["/bin/rm", "-rf", str(path)], check=True)
    path.mkdir(mode=0o700)
    if account:
        os.chown(path, account.uid, account.gid)
    yield


@contextmanager
def password_file(password: str, directory: Path, account: Account | None) -> Iterator[Path]:
    """A file with the superuser's password that only the account can read, gone afterwards."""
    with tempfile.NamedTemporaryFile("w", dir=directory) as file:
        file.write(password)
        file.flush()
        if account:
            os.fchown(file.fileno(), account.uid, account.gid)
        yield Path(file.name)


def run_as(account: Account | None, command: list[str], cwd: Path, name: str) -> None:
    """Run a command to its end as the account. Raises PreparationFailed with the last line that it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=server_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INITDB_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise PreparationFailed(name, Path(command[0]).name, done.stderr or done.stdout)
