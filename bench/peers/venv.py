"""A peer's own virtual environment, made on first use from a list of pinned versions."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]


def python_of(peer: str) -> Path:
    """The interpreter of `.local/peers/<peer>`, with what `bench/peers/<peer>.txt` lists."""
    home = _ROOT / ".local" / "peers" / peer
    pins, done = _ROOT / "bench" / "peers" / f"{peer}.txt", home / ".installed"
    python = home / "bin" / "python"
    if not done.exists() or done.read_text() != pins.read_text():
        _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home))
        _uv("pip", "sync", "--quiet", "--python", str(python), str(pins))
        done.write_text(pins.read_text())
    return python


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).parent / "uv"
    command = str(beside) if beside.exists() else "uv"
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ}
    subprocess.run([command, *arguments], check=True, env=environment)
