"""The command line of a local stack, and who of its processes is still there."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.accounts import shelter_of
from deploy.local.family import runs
from deploy.local.ports import free_ports
from deploy.local.run_files import RunFiles, wait_until
from deploy.local.settings import PROJECT

SERVERS = "postgres,warehouse,kafka"
COMMAND_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Local:
    """The command line of one stack of its own."""

    state_dir: Path
    env: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    account: str | None = None

    def environment(self, **extra: str) -> dict[str, str]:
        return os.environ | {"TIDEMARK_LOCAL_STATE_DIR": str(self.state_dir)} | self.env | extra

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "deploy.local", *arguments],
            cwd=PROJECT,
            env=self.environment(**extra),
            user=self.account,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def foreground(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A supervisor in a process group of its own, as a shell would start it, once it is ready."""
        with (self.state_dir.parent / "output").open("wb") as output:
            supervisor = subprocess.Popen(
                [self.python, "-m", "deploy.local", "up", *arguments],
                cwd=PROJECT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        files = RunFiles(self.state_dir)
        ready = wait_until(lambda: (s := files.read()) is not None and s.state == "ready", COMMAND_SECONDS)
        assert ready, (self.state_dir.parent / "output").read_text()
        return supervisor


def ports() -> dict[str, str]:
    names = ("POSTGRES", "WAREHOUSE", "KAFKA", "KAFKA_CONTROLLER")
    return {f"TIDEMARK_LOCAL_{name}_PORT": str(port) for name, port in zip(names, free_ports(4), strict=True)}


def family_of(supervisor: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(supervisor.pid).children(recursive=True)


def survivors(family: list[psutil.Process], state_dir: Path) -> list[str]:
    """Those of the family that still run, and whoever works in the state directory or names it."""
    places = (str(state_dir), str(shelter_of(state_dir)))
    found = {process.pid: "descendant" for process in family if runs(process)}
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline()] if runs(process) else []
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(place in word for place in places for word in words):
            found[process.pid] = " ".join(words[1:3])
    return [f"{pid} {what}" for pid, what in found.items()]


def one_line_error(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (1, 1), done.stdout + done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
