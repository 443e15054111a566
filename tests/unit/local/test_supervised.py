import sys
from pathlib import Path

import pytest

from deploy.local.errors import ProcessDied
from deploy.local.process import Launch, ManagedProcess
from deploy.local.supervised import QUICK_DEATHS, QUICK_SECONDS, Supervised, backoff


class Script(ManagedProcess):
    """A child that runs a line of Python and counts as ready once it has printed something."""

    line = "print('up', flush=True); import time; time.sleep(60)"

    async def launch(self) -> Launch:
        return Launch((sys.executable, "-I", "-S", "-c", self.line), {}, self.log.parent, ready_timeout=180)

    async def ready(self) -> bool:
        return bool(self.last_lines()) and self.pid is not None


class Failing(Script):
    line = "print('cannot open the database'); raise SystemExit(3)"

    async def ready(self) -> bool:
        return False


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (60, 10.0)])
def test_pauses_double_up_to_a_limit(deaths: int, seconds: float) -> None:
    assert backoff(deaths) == seconds


def test_only_recent_deaths_count(tmp_path: Path) -> None:
    supervised = Supervised(Script("script", tmp_path / "log"), print)
    assert [supervised.count_death(t) for t in (0.0, 1.0, 2.0, QUICK_SECONDS + 1.5)] == [1, 2, 3, 2]


async def test_it_runs_until_stopped(tmp_path: Path) -> None:
    supervised = Supervised(Script("script", tmp_path / "log"), print)
    await supervised.start()
    assert supervised.state == "running"
    assert not supervised.is_dead
    await supervised.stop()
    assert supervised.process.exit_code == -15


async def test_a_death_is_told_and_repaired(tmp_path: Path) -> None:
    said: list[str] = []
    supervised = Supervised(Script("script", tmp_path / "log"), said.append)
    await supervised.start()
    await supervised.process.kill()
    assert supervised.is_dead
    supervised.on_death()
    assert supervised.reviving is not None
    await supervised.reviving
    assert (supervised.state, supervised.restarts) == ("running", 1)
    assert said == [
        f"script died (signal 9), see {tmp_path / 'log'}: up; starting it again in 0.5 s",
        "script is ready again",
    ]
    await supervised.stop()


async def test_killed_on_purpose_it_stays_down(tmp_path: Path) -> None:
    supervised = Supervised(Script("script", tmp_path / "log"), print)
    await supervised.start()
    await supervised.kill()
    assert supervised.process.pid is None
    assert not supervised.is_dead


async def test_after_too_many_deaths_it_is_given_up(tmp_path: Path) -> None:
    said: list[str] = []
    supervised = Supervised(Script("script", tmp_path / "log"), said.append)
    for _ in range(QUICK_DEATHS + 1):
        await supervised.give_up_reviving()
        supervised.on_death()
    assert supervised.state == "failed"
    assert "given up after 6 deaths" in said[-1]


async def test_a_dead_start_is_one_line_with_the_last_output(tmp_path: Path) -> None:
    supervised = Supervised(Failing("script", tmp_path / "log"), print)
    with pytest.raises(ProcessDied) as caught:
        await supervised.start()
    assert str(caught.value) == f"script died (exit code 3), see {tmp_path / 'log'}: cannot open the database"
    assert supervised.state == "failed"
