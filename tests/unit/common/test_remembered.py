"""What is believed for a while is believed no longer, and no more of it than fits."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.remembered import Remembered


def test_a_value_is_believed_for_its_own_time() -> None:
    now = [0.0]
    known = Remembered[str, int](lambda: now[0])
    known.put("long", 1, 60)
    known.put("short", 2, 5)
    for moment, expected in ((0, (1, 2)), (4.9, (1, 2)), (5, (1, None)), (60, (None, None))):
        now[0] = moment
        assert (known.get("long"), known.get("short")) == expected


def test_what_is_put_again_is_believed_anew_and_what_is_forgotten_is_not() -> None:
    now = [0.0]
    known = Remembered[str, int](lambda: now[0])
    known.put("a", 1, 10)
    now[0] = 9
    known.put("a", 2, 10)
    now[0] = 18
    assert known.get("a") == 2
    known.forget("a")
    known.forget("never known")
    assert known.get("a") is None


def test_the_longest_known_makes_room() -> None:
    known = Remembered[int, int](lambda: 0.0, most=3)
    for number in range(5):
        known.put(number, number, 60)
        known.put(2, 2, 60)
    assert sorted(known) == [(2, 2), (3, 3), (4, 4)]


def test_what_is_over_is_dropped_when_something_comes() -> None:
    now = [0.0]
    known = Remembered[int, int](lambda: now[0])
    for number in range(100):
        known.put(number, number, 10)
    now[0] = 11
    known.put(100, 100, 10)
    assert len(known) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 50), st.floats(0, 20))), st.integers(1, 5))
def test_it_never_holds_more_than_its_most_nor_gives_what_is_over(
    puts: list[tuple[int, float, float]], most: int
) -> None:
    now, last = [0.0], dict[int, tuple[float, float]]()
    known = Remembered[int, float](lambda: now[0], most)
    for key, seconds, pause in puts:
        now[0] += pause
        known.put(key, now[0], seconds)
        last[key] = (now[0], now[0] + seconds)
        assert len(known) <= most
        for each, (put, until) in last.items():
            assert known.get(each) in ((put, None) if until > now[0] else (None,))
