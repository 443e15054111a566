"""The demo's workload is what its habits say, and the same every time."""

from collections import Counter

from cli.demo.workload import HABITS, statements


def test_every_habit_runs_as_often_as_it_says() -> None:
    ran = Counter(statement.user for statement in statements())
    wanted: Counter[str] = Counter()
    for habit in HABITS:
        for user in habit.users:
            wanted[user] += habit.times
    assert ran == wanted


def test_the_same_seed_gives_the_same_statements() -> None:
    assert list(statements(3)) == list(statements(3)) != list(statements(4))
