"""Secrets of a local stack: made once, kept in `secrets.json` of the state directory, readable by its owner only."""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SecretFile:
    path: Path

    def get(self, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
        """The secret of this name, made and stored at the first call."""
        known = self._read()
        if name not in known:
            known[name] = make()
            self._write(known)
        return known[name]

    def _read(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return known

    def _write(self, known: dict[str, str]) -> None:
        write_private(self.path, json.dumps(known, indent=2))


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read, at no moment half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
