"""What the person at the keyboard sees: one prefixed, coloured line per line of a process."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94, 91)
WIDTH = 17
FOLLOW_SECONDS = 0.1
SUPERVISOR = "tidemark"


def colourful() -> bool:
    """Colours are for terminals, and for those who do not refuse them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def prefixed(name: str, line: str, colour: bool) -> str:
    """A line behind the name of the process, which always has the same colour."""
    label = f"{name:<{WIDTH}}|"
    code = COLOURS[sum(name.encode()) % len(COLOURS)]
    return f"\x1b[{code}m{label}\x1b[0m {line}" if colour else f"{label} {line}"


def say(line: str) -> None:
    """A line of the supervisor itself."""
    print(prefixed(SUPERVISOR, line, colourful()), flush=True)


@dataclass(eq=False)
class Follower:
    """Prints what is added to a log file, whole lines only."""

    name: str
    path: Path
    position: int = 0

    def skip(self) -> None:
        """Begin at the present end."""
        self.position = self.path.stat().st_size if self.path.exists() else 0

    def step(self) -> list[str]:
        """The lines that came since the last call."""
        if not self.path.exists():
            return []
        if self.path.stat().st_size < self.position:  # a new file
            self.position = 0
        with self.path.open("rb") as file:
            file.seek(self.position)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self.position += end
        return data[:end].decode(errors="replace").splitlines()

    def show(self, last: int | None = None) -> None:
        """Print the new lines, or only so many of the last ones."""
        colour, lines = colourful(), self.step()
        for line in lines[-last:] if last else lines:
            print(prefixed(self.name, line, colour))


async def follow(followers: list[Follower]) -> None:
    """Show new lines of all files until cancelled."""
    while True:
        for follower in followers:
            follower.show()
        sys.stdout.flush()
        await asyncio.sleep(FOLLOW_SECONDS)
