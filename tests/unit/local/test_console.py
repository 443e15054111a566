from pathlib import Path

from deploy.local.console import Follower, prefixed


def test_every_line_names_its_process() -> None:
    assert prefixed("kafka", "started", colour=False) == "kafka            | started"


def test_a_process_keeps_its_colour() -> None:
    first, second = (prefixed("kafka", line, colour=True) for line in ("a", "b"))
    assert first.startswith("\x1b[")
    assert first[:-1] == second[:-1]


def test_only_whole_new_lines_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    follower = Follower("x", path)
    assert follower.step() == []
    path.write_text("one\ntw")
    assert follower.step() == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert follower.step() == ["two"]


def test_skip_begins_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old\n")
    follower = Follower("x", path)
    follower.skip()
    assert follower.step() == []
