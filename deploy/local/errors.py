"""The one family of errors that the command line turns into a single line and exit code 1."""

from pathlib import Path


class LocalStackError(Exception):
    """Something that the person at the keyboard can act on; its text is one line."""


class PlatformUnsupported(LocalStackError):
    def __init__(self, system: str, machine: str, supported: str) -> None:
        super().__init__(f"no PostgreSQL binaries for {system} {machine}; supported are {supported}")


class ArtifactMissing(LocalStackError):
    def __init__(self, coordinate: str, reason: str, cached: Path | None = None) -> None:
        hint = f"; connect to the network once, or put the file at {cached}" if cached else ""
        super().__init__(f"artifact {coordinate} is missing: {reason}{hint}")


class PortInUse(LocalStackError):
    def __init__(self, port: int, process: str, setting: str) -> None:
        super().__init__(f"port {port} is in use, {process} needs it: free it or set {setting} to another port")


class PreparationFailed(LocalStackError):
    def __init__(self, process: str, step: str, output: str) -> None:
        last = output.strip().splitlines()[-1:] or ["no output"]
        super().__init__(f"{process}: {step} failed: {last[0]}")


class ProcessDied(LocalStackError):
    """A process ended before it was ready, or too often."""

    def __init__(self, process: str, code: int, log: Path, last_lines: list[str]) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = " | ".join(last_lines) or "it printed nothing"
        super().__init__(f"{process} died ({how}), see {log}: {said}")


class NotReady(LocalStackError):
    def __init__(self, process: str, seconds: float, log: Path) -> None:
        super().__init__(f"{process} was not ready after {seconds:.0f} s, see {log}")


class AlreadyRunning(LocalStackError):
    def __init__(self, pid: int | None, state_dir: Path) -> None:
        who = f" (pid {pid})" if pid else ""
        super().__init__(f"a stack is already running in {state_dir}{who}: `make down` stops it")


class UnknownProcess(LocalStackError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no process {name!r}; known are {', '.join(known)}")


class NoServerAccount(LocalStackError):
    def __init__(self, name: str) -> None:
        super().__init__(f"PostgreSQL refuses to run as root and there is no account {name!r}: start as another user")


class UnsafeDirectory(LocalStackError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} belongs to somebody else: remove it")
