"""Arms of the benchmark of the gateway, loaded in turn."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import psutil

from bench.gateway_arms.load import Load, Round
from deploy.local.service import ServiceProcess
from deploy.local.settings import PROJECT

SECONDS, ROUNDS = 3.0, 5


@dataclass(frozen=True, slots=True)
class Arm:
    """Who is asked, and the processes that work for it. The bearer is made anew for each round."""

    url: str
    bearer: Callable[[], str]
    servers: tuple[ServiceProcess, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of an arm's rounds; `cpu` is µs a request by process."""

    rate: float
    p50: float
    p99: float
    cpu: Mapping[str, float]


def _cpu(server: ServiceProcess) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return times.user + times.system


def _round(arm: Arm, seconds: float = SECONDS) -> tuple[Round, dict[str, float]]:
    before = [_cpu(server) for server in arm.servers]
    load = msgspec.json.encode(Load(arm.url, arm.bearer(), seconds))
    done = subprocess.run(
        [sys.executable, "-m", "bench.gateway_arms.load"], input=load, stdout=subprocess.PIPE, cwd=PROJECT, check=True
    )
    seen = msgspec.json.decode(done.stdout, type=Round)
    spent = {s.name: (_cpu(s) - b) / seen.requests * 1e6 for s, b in zip(arm.servers, before, strict=True)}
    return seen, spent | {"client": seen.cpu / seen.requests * 1e6}


def _medians(rounds: list[tuple[Round, dict[str, float]]]) -> Figures:
    seen = [each for each, _ in rounds]
    cpu = {name: statistics.median(spent[name] for _, spent in rounds) for name in rounds[0][1]}
    middle = statistics.median
    return Figures(middle(s.rate for s in seen), middle(s.p50 for s in seen), middle(s.p99 for s in seen), cpu)


def run_arms(arms: Mapping[str, Arm]) -> dict[str, Figures]:
    """Interleaved rounds, after one of each that is thrown away."""
    for arm in arms.values():
        _round(arm, 0.5)
    rounds: dict[str, list[tuple[Round, dict[str, float]]]] = {name: [] for name in arms}
    for _ in range(ROUNDS):
        for name, arm in arms.items():
            rounds[name].append(_round(arm))
    return {name: _medians(each) for name, each in rounds.items()}
