"""A stack of a benchmark's own: real servers and services on free ports, its state removed afterwards."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from deploy.local.infrastructure import remove_state
from deploy.local.ports import free_ports
from deploy.local.settings import LocalSettings
from deploy.local.supervisor import Stack

_PORTS = [name for name in LocalSettings.model_fields if name.endswith("_port")]


def settings_of(state_dir: Path) -> LocalSettings:
    """Free ports for everything; servers are unpacked where the project keeps them."""
    chosen = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    return LocalSettings.model_validate({"state_dir": state_dir, **chosen})


@contextmanager
def own_state() -> Iterator[Path]:
    """A state directory that is gone afterwards, with what lies elsewhere in its name."""
    state_dir = Path(tempfile.mkdtemp(prefix="tidemark-bench-"))
    try:
        yield state_dir
    finally:
        remove_state(state_dir)
        state_dir.rmdir()


@asynccontextmanager
async def own_stack(only: Collection[str]) -> AsyncIterator[Stack]:
    """The named processes, ready."""
    with own_state() as state_dir:
        settings = settings_of(state_dir).model_copy(update={"kafka_heap": "512m"})
        async with Stack(settings, only, say=lambda _: None) as stack:
            yield stack


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of all that it started, of those that ended as well."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            if process.pid == pid:
                total += times.children_user + times.children_system
    return total


def memory(pid: int) -> int:
    """Bytes held by a process and all that it started; what several share counts once."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.uss)
    return total
