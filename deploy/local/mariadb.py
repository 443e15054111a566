"""A MariaDB server on a port of 127.0.0.1, for queries on MySQL's protocol."""

import asyncio
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.artifacts import ArtifactStore
from deploy.local.errors import PreparationFailed
from deploy.local.postgres import server_environment
from deploy.local.process import Launch, ManagedProcess, PortClaim

ADMIN: Final = "admin"
INSTALL_SECONDS: Final = 120
_PROBE_SECONDS: Final = 2.0


@dataclass(eq=False)
class MariaDb(ManagedProcess):
    """One server: its system tables are made at the first start, its data kept between starts."""

    port: int
    state_dir: Path
    password: str = field(repr=False)
    artifacts: ArtifactStore
    port_setting: str = ""

    @property
    def data_dir(self) -> Path:
        return self.state_dir / self.name

    async def launch(self) -> Launch:
        home = await asyncio.to_thread(self.artifacts.mariadb)
        if not self.data_dir.is_dir():
            await asyncio.to_thread(self._install, home)
        self._write_account()
        options = {
            "basedir": home,
            "datadir": self.data_dir,
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.data_dir / "s",
            "pid-file": self.data_dir / "pid",
            "init-file": self._account_file,
            "innodb-buffer-pool-size": "64M",
            "default-time-zone": "+00:00",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return Launch(
            command=(str(home / "bin" / "mariadbd"), "--no-defaults", "--skip-name-resolve", *_as_root(), *words),
            env=_environment(home),
            cwd=self.data_dir,
            ports=(PortClaim(self.port, self.port_setting),),
            stop_budget=15.0,
        )

    async def ready(self) -> bool:
        """True when the server greets: it listens before it has read its accounts, and greets afterwards."""
        return await asyncio.to_thread(self._greets)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), _PROBE_SECONDS) as connection:
                return len(connection.recv(5)) == 5
        except OSError:
            return False

    @property
    def _account_file(self) -> Path:
        return self.state_dir / f"{self.name}.sql"

    def _write_account(self) -> None:
        """The administrator for connections over TCP, made anew at each start."""
        statements = (
            f"CREATE OR REPLACE USER '{ADMIN}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{ADMIN}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        self._account_file.touch(mode=0o600)
        self._account_file.write_text(statements)

    def _install(self, home: Path) -> None:
        fresh = self.data_dir.with_name(f"{self.data_dir.name}.new")  # renamed when complete
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        options = (f"--basedir={home}", f"--datadir={fresh}", "--auth-root-authentication-method=socket")
        done = subprocess.run(
            [str(home / "scripts" / "mariadb-install-db"), "--no-defaults", "--skip-test-db", *_as_root(), *options],
            env=_environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise PreparationFailed(self.name, "mariadb-install-db", done.stderr or done.stdout)
        fresh.rename(self.data_dir)


def _as_root() -> tuple[str, ...]:
    return ("--user=root",) if os.geteuid() == 0 else ()


def _environment(home: Path) -> dict[str, str]:
    return server_environment() | {"LD_LIBRARY_PATH": str(home / "libs")}
