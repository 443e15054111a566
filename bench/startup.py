"""What `make up` runs: seconds until ready and until gone, and what each process holds while nothing happens.

Cold is an empty state directory (new clusters, keys, topics, migrations), warm the same directory again. The servers'
binaries are unpacked and the packages' bytecode is written in both, for how long a download takes is the network's
business. The alternative starts the same processes, warm, one after the other.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from bench.harness import Result
from bench.stack import memory, own_state, settings_of, tree
from deploy.local.family import runs
from deploy.local.plan import Stage
from deploy.local.run_files import RunFiles, wait_until
from deploy.local.settings import PROJECT, LocalSettings, setting_of
from deploy.local.supervisor import Stack

PATIENCE, IDLE_SECONDS = 180.0, 5.0
COLD_SECONDS, WARM_SECONDS, GONE_SECONDS, MEGABYTES = 30.0, 20.0, 10.0, 1200.0
_MB = 1_048_576


@dataclass(frozen=True, slots=True)
class Run:
    """One life of a stack: seconds to ready and from Ctrl-C to gone, resident and proportional MB by process."""

    ready: float
    gone: float
    resident: Mapping[str, float]
    proportional: Mapping[str, float]


def _environment(settings: LocalSettings) -> dict[str, str]:
    return os.environ | {setting_of(name): str(value) for name, value in settings.model_dump().items()}


def _is_ready(files: RunFiles) -> bool:
    state = files.read()
    return state is not None and state.state == "ready"


def _resident(pid: int) -> float:
    return float(sum(process.memory_info().rss for process in tree(pid)))


def _run(settings: LocalSettings) -> Run:
    """Start as a terminal would, wait, look at the memory, press Ctrl-C, wait until nobody is left."""
    files, began = RunFiles(settings.state_dir), time.perf_counter()
    command = [sys.executable, "-m", "deploy.local", "up", "--quiet"]
    supervisor = subprocess.Popen(
        command, cwd=PROJECT, env=_environment(settings), stdout=subprocess.DEVNULL, process_group=0
    )
    try:
        if not wait_until(lambda: _is_ready(files), PATIENCE):
            raise TimeoutError(f"the stack is not ready after {PATIENCE} s; its logs: {settings.state_dir}/log")
        ready = time.perf_counter() - began
        time.sleep(IDLE_SECONDS)
        pids, family = _pids(files), psutil.Process(supervisor.pid).children(recursive=True)
        own = psutil.Process(supervisor.pid).memory_full_info()
        resident = {name: _resident(pid) / _MB for name, pid in pids.items()} | {"supervisor": own.rss / _MB}
        proportional = {name: memory(pid) / _MB for name, pid in pids.items()} | {"supervisor": own.uss / _MB}
    finally:
        stopping = time.perf_counter()
        os.killpg(supervisor.pid, signal.SIGINT)
        supervisor.wait(PATIENCE)
    wait_until(lambda: not any(runs(process) for process in family), PATIENCE)
    return Run(ready, time.perf_counter() - stopping, resident, proportional)


def _pids(files: RunFiles) -> dict[str, int]:
    state = files.read()
    assert state is not None
    return {process.name: process.pid for process in state.processes if process.pid is not None}


async def _one_by_one(settings: LocalSettings) -> float:
    stack = Stack(settings, say=lambda _: None)
    stack.stages = [Stage(process.name, (process,)) for stage in stack.stages for process in stage.processes]
    began = time.perf_counter()
    async with stack:
        return time.perf_counter() - began


def _lives() -> tuple[Run, Run, float]:
    """A cold life, a warm one, and the seconds that a warm start one by one takes."""
    with own_state() as state_dir:
        settings = settings_of(state_dir)
        return _run(settings), _run(settings), asyncio.run(_one_by_one(settings))


def measure() -> list[Result]:
    """Cold, warm, gone, memory; the ratio is to starting one by one (for memory, of proportional to resident)."""
    cold, warm, one_by_one = _lives()
    for name, resident in warm.resident.items():
        print(f"STARTUP process={name} rss_mb={resident:.0f} pss_mb={warm.proportional[name]:.0f}")
    held, resident = sum(warm.proportional.values()), sum(warm.resident.values())
    return [
        _seconds("startup_cold", cold.ready, one_by_one, COLD_SECONDS),
        _seconds("startup_warm", warm.ready, one_by_one, WARM_SECONDS),
        _seconds("startup_gone", warm.gone, one_by_one, GONE_SECONDS),
        Result("startup_memory", held, "MB", held / resident, f"<={MEGABYTES:g}MB", held <= MEGABYTES),
    ]


def _seconds(name: str, value: float, one_by_one: float, most: float) -> Result:
    return Result(name, value, "s", one_by_one / value, f"<={most:g}s", value <= most)
