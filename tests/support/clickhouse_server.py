"""Debian's ClickHouse 18.16, where apt-get can fetch it: a real server for users, sessions, HTTP and cancel.

It is too old for query parameters and for the drivers' result format, so statements here name a format of their own.
"""

import asyncio
import platform
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from deploy.local.errors import LocalStackError
from deploy.local.ports import free_port
from deploy.local.postgres import server_environment
from deploy.local.process import Launch, ManagedProcess, PortClaim
from deploy.local.settings import PROJECT

ROOT = PROJECT / ".local" / "clickhouse-18.16"
_SECONDS = 180
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_CONFIG = """<yandex>
<logger><level>warning</level><log>{home}/log</log><errorlog>{home}/errors</errorlog></logger>
<http_port>{port}</http_port><listen_host>127.0.0.1</listen_host><mark_cache_size>100000000</mark_cache_size>
<path>{home}/data/</path><tmp_path>{home}/tmp/</tmp_path><user_files_path>{home}/files/</user_files_path>
<users_config>{home}/users.xml</users_config><default_profile>open</default_profile>
<default_database>default</default_database>
</yandex>"""
_PROFILES = {"admin": "open", "locked": "locked", "changeable": "changeable"}
_USERS = """<yandex>
<profiles><open><max_memory_usage>500000000</max_memory_usage></open><locked><readonly>1</readonly></locked>
<changeable><readonly>2</readonly></changeable></profiles>
<users>{users}</users><quotas><default/></quotas>
</yandex>"""
_USER = (
    "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>"
    "<profile>{profile}</profile><quota>default</quota></{name}>"
)


class NotHere(LocalStackError):
    """This machine cannot have it; the text says why."""


def _run(*command: str, folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotHere(f"{command[0]} failed ({type(error).__name__})") from None
    return done.stdout


def installed() -> Path:
    """The unpacked packages. Raises NotHere."""
    if (ROOT / "usr/sbin/clickhouse-server").is_file():
        return ROOT
    if platform.machine() != "x86_64" or shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NotHere("Debian's packages are for x86-64, and need apt-get and dpkg")
    fresh = ROOT.with_name(f"{ROOT.name}.new")  # renamed when complete
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "packages").mkdir(parents=True)
    words = ("apt-get", "install", "--print-uris", "-y", "-qq", "--no-install-recommends", "clickhouse-server")
    names = [line.split()[1].partition("_")[0] for line in _run(*words, folder=fresh).splitlines() if "'" in line]
    if not any(name.startswith("clickhouse") for name in names):
        raise NotHere("apt-get knows no ClickHouse 18.16")
    _run("apt-get", "download", *names, folder=fresh / "packages")
    for package in sorted((fresh / "packages").glob("*.deb")):
        _run("dpkg", "-x", str(package), str(fresh), folder=fresh)
    shutil.rmtree(fresh / "packages")
    fresh.rename(ROOT)
    return ROOT


@dataclass(eq=False)
class OldServer(ManagedProcess):
    """Three users, who differ in what `readonly` their profile has."""

    port: int
    home: Path
    password: str = field(repr=False)

    async def launch(self) -> Launch:
        root = await asyncio.to_thread(installed)
        for name in ("data", "tmp", "files"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        users = [_USER.format(name=name, password=self.password, profile=each) for name, each in _PROFILES.items()]
        (self.home / "users.xml").write_text(_USERS.format(users="".join(users)))
        (self.home / "config.xml").write_text(_CONFIG.format(home=self.home, port=self.port))
        libraries = ":".join(str(root / each) for each in _LIBRARIES)
        return Launch(
            command=(str(root / "usr/sbin/clickhouse-server"), f"--config-file={self.home / 'config.xml'}"),
            env=server_environment() | {"LD_LIBRARY_PATH": libraries},
            cwd=self.home,
            ports=(PortClaim(self.port, ""),),
            stop_budget=10.0,
        )

    async def ready(self) -> bool:
        try:
            return await self.ask("SELECT 1") == "1"
        except (aiohttp.ClientError, OSError):
            return False

    async def ask(self, text: str) -> str:
        """What an administrator is answered."""
        who = {"X-ClickHouse-User": "admin", "X-ClickHouse-Key": self.password}
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=who) as session,
            session.post("/", data=text) as answer,
        ):
            return (await answer.text()).strip()

    async def running(self, mark: str) -> int:
        """How many statements with this mark the server is at work on."""
        text = (
            f"SELECT count() FROM system.processes WHERE query LIKE '%{mark}%' AND query NOT LIKE '%system.processes%'"
        )
        return int(await self.ask(text))


@asynccontextmanager
async def old_server(folder: Path) -> AsyncIterator[OldServer | str]:
    """A running server, or why there is none."""
    server = OldServer("clickhouse", folder / "clickhouse.log", free_port(), folder, "canary-old-3310")
    try:
        await server.start()
    except LocalStackError as error:
        yield str(error)
        return
    try:
        yield server
    finally:
        await server.stop()
