import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local.errors import AlreadyRunning, ProcessDied
from deploy.local.plan import Stage
from deploy.local.process import Launch, ManagedProcess
from deploy.local.settings import LocalSettings
from deploy.local.supervised import Supervised
from deploy.local.supervisor import Stack

Journal = list[tuple[str, str]]


@dataclass(eq=False)
class Recorded(ManagedProcess):
    """A child that does nothing; writes down when it starts and stops."""

    journal: Journal = field(default_factory=list)
    line: str = "import time; time.sleep(60)"

    async def launch(self) -> Launch:
        self.journal.append(("start", self.name))
        return Launch((sys.executable, "-I", "-S", "-c", self.line), {}, self.log.parent, ready_timeout=180)

    async def ready(self) -> bool:
        return "time" in self.line and self.pid is not None

    async def stop(self) -> None:
        await super().stop()
        self.journal.append(("stop", self.name))


def stack_of(tmp_path: Path, journal: Journal, failing: str = "") -> Stack:
    """Two in the first stage, one in the second and one in the third."""
    stack = Stack(LocalSettings(state_dir=tmp_path), say=lambda line: None)

    def process(name: str) -> Recorded:
        line = "raise SystemExit(1)" if name == failing else Recorded.line
        return Recorded(name, tmp_path / f"{name}.log", journal, line)

    stages = (("a", "b"), ("c",), ("d",))
    stack.stages = [Stage(str(number), tuple(map(process, names))) for number, names in enumerate(stages)]
    stack.known = {p.name: Supervised(p, lambda line: None) for stage in stack.stages for p in stage.processes}
    return stack


async def test_stages_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    journal: Journal = []
    async with stack_of(tmp_path, journal):
        assert [name for _, name in journal] == ["a", "b", "c", "d"]
        journal.clear()
    assert [name for _, name in journal[:2]] == ["d", "c"]
    assert {name for _, name in journal[2:]} == {"a", "b"}


async def test_a_failed_stage_stops_the_earlier_ones(tmp_path: Path) -> None:
    journal: Journal = []
    stack = stack_of(tmp_path, journal, failing="c")
    with pytest.raises(ProcessDied, match="c died"):
        await stack.start()
    assert ("start", "d") not in journal
    assert all(supervised.process.pid is None for supervised in stack.known.values())
    assert stack.known["a"].process.exit_code is not None


async def test_one_state_directory_has_one_supervisor(tmp_path: Path) -> None:
    async with stack_of(tmp_path, []):
        with pytest.raises(AlreadyRunning):
            await stack_of(tmp_path, []).start()
    async with stack_of(tmp_path, []):
        pass
