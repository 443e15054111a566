"""A real Apache Superset for tests and the demo, in a virtual environment of its own, prepared once.

Superset pins packages that we do not want, so it never shares our environment. Its requirements are locked in
`superset.requirements.txt`; creating its tables and roles takes half a minute, so the result is kept and copied.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from deploy.local.artifacts import exclusive
from deploy.local.errors import PreparationFailed
from deploy.local.ports import LOOPBACK
from deploy.local.process import Launch, ManagedProcess, PortClaim
from deploy.local.secret_file import SecretFile

SUPERSET: Final = "superset"
ADMIN: Final = "admin"
REQUIREMENTS: Final = Path(__file__).with_name("superset.requirements.txt")
CONFIG: Final = Path(__file__).with_name("superset_config.py")
_INSTALL_SECONDS: Final = 1200
_STEP_SECONDS: Final = 600
_READY_SECONDS: Final = 180.0
_PROBE: Final = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class SupersetInstallation:
    """What all Supersets of a project share, in `root`: the environment, the prepared state, their secrets.

    `seconds` tells what each step took in this process; steps that were done before are not in it.
    """

    root: Path
    say: Callable[[str], None] = print
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def admin_password(self) -> str:
        """The password of the account `admin`."""
        return SecretFile(self.root / "secrets.json").get("admin_password")

    def environment(self, home: Path) -> dict[str, str]:
        """Of each of its processes; nothing of ours reaches it."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "FLASK_APP": "superset",
            "SUPERSET_HOME": str(home),
            "SUPERSET_CONFIG_PATH": str(CONFIG),
            "TIDEMARK_SUPERSET_SECRET_KEY": SecretFile(self.root / "secrets.json").get("secret_key"),
        }

    def command(self, *arguments: str) -> list[str]:
        """A command of Superset. Raises PreparationFailed where it cannot be installed."""
        return [str(self._installed() / "bin" / "superset"), *arguments]

    def prepare_home(self, home: Path) -> None:
        """Fill an empty home with the prepared state; one that is in use stays. Raises PreparationFailed."""
        if not (home / "superset.db").is_file():
            prepared = self._prepared()
            fresh = home.with_name(f"{home.name}.{os.getpid()}")
            shutil.copytree(prepared, fresh)
            shutil.rmtree(home, ignore_errors=True)
            fresh.rename(home)

    def _installed(self) -> Path:
        """The environment, installed at the first call."""
        venv = self.root / f"venv-{_digest(REQUIREMENTS, sys.version[:4])}"
        marker = venv / ".complete"
        if not marker.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            with exclusive(self.root / ".lock"):
                if not marker.exists():
                    with self._timed("install"):
                        self._install(venv)
                    marker.touch()
        return venv

    def _install(self, venv: Path) -> None:
        self.say("installing Superset into an environment of its own (about 650 MB)")
        shutil.rmtree(venv, ignore_errors=True)
        python = ["--python", sys.executable]
        _run([_uv(), "venv", "--quiet", *python, str(venv)], _STEP_SECONDS, "making its environment")
        into = ["--python", str(venv / "bin" / "python"), "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS)]
        _run([_uv(), "pip", "install", "--quiet", *into], _INSTALL_SECONDS, "installing its packages")

    def _prepared(self) -> Path:
        """A home with tables, roles and the administrator, made at the first call."""
        venv = self._installed()
        # The state holds the administrator's password and what the secret key encrypted.
        secrets = SecretFile(self.root / "secrets.json").get("secret_key") + self.admin_password
        snapshot = self.root / f"prepared-{_digest(CONFIG, venv.name + secrets)}"
        if not snapshot.is_dir():
            with exclusive(self.root / ".lock"):
                if not snapshot.is_dir():
                    self._prepare(snapshot)
        return snapshot

    def _prepare(self, snapshot: Path) -> None:
        self.say("creating Superset's tables and roles, once")
        person = ["--firstname", "Ada", "--lastname", "Admin", "--email", "admin@superset.invalid"]
        with tempfile.TemporaryDirectory(dir=self.root) as scratch, self._timed("prepare"):
            home = Path(scratch) / "home"
            home.mkdir(mode=0o700)
            self._step(home, "db", "upgrade")
            account = ["--username", ADMIN, "--password", self.admin_password]
            self._step(home, "fab", "create-admin", *account, *person)
            self._step(home, "init")
            home.rename(snapshot)

    def _step(self, home: Path, *arguments: str) -> None:
        command = [*_nice(), *self.command(*arguments)]
        _run(command, _STEP_SECONDS, " ".join(arguments[:2]), self.environment(home))

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - start


@dataclass(eq=False)
class SupersetServer(ManagedProcess):
    """One Superset with a home of its own; ready when `/health` answers."""

    port: int
    home: Path
    installation: SupersetInstallation
    port_setting: str

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    async def launch(self) -> Launch:
        await asyncio.to_thread(self.installation.prepare_home, self.home)
        serve = ("run", "--host", LOOPBACK, "--port", str(self.port), "--with-threads")
        return Launch(
            command=tuple(self.installation.command(*serve)),
            env=self.installation.environment(self.home),
            cwd=self.home,
            ports=(PortClaim(self.port, self.port_setting),),
            ready_timeout=_READY_SECONDS,
        )

    async def ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=_PROBE) as session,
                session.get(f"{self.url}/health") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


def _digest(file: Path, more: str) -> str:
    """Part of a directory's name that changes with what it was made from."""
    return hashlib.sha256(file.read_bytes() + more.encode()).hexdigest()[:8]


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise PreparationFailed(SUPERSET, "installing", "uv is neither beside Python nor on the PATH")
    return found


def _nice() -> list[str]:
    """The preparation takes all of a processor: others go first."""
    found = shutil.which("nice")
    return [found] if found else []


def _run(command: list[str], seconds: float, step: str, environment: dict[str, str] | None = None) -> None:
    """To its end. Raises PreparationFailed with the last line of what it printed."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PreparationFailed(SUPERSET, step, f"it took longer than {seconds:.0f} s") from None
    except OSError as error:
        raise PreparationFailed(SUPERSET, step, type(error).__name__) from None
    if done.returncode != 0:
        raise PreparationFailed(SUPERSET, step, done.stderr or done.stdout)
