from hypothesis import given
from hypothesis import strategies as st

from libs.common.dead_letter_limits import DeadLetterLimits, PartitionHistory

RUN = DeadLetterLimits(max_run=3, max_share=1.0)
SHARE = DeadLetterLimits(max_run=1000, max_share=0.25, window=20, least=8)


def play(history: PartitionHistory, outcomes: str) -> list[str | None]:
    """`.` is a good record, `x` a bad one; what the limits say to each bad one."""
    answers: list[str | None] = []
    for each in outcomes:
        if each == ".":
            history.good()
        else:
            answers.append(history.refuses())
    return answers


def test_a_run_is_refused_after_its_limit() -> None:
    assert play(PartitionHistory(RUN), "xxxxx") == [None] * 3 + ["3 dead letters in a row"] * 2


def test_a_good_record_ends_the_run() -> None:
    assert play(PartitionHistory(RUN), "xxx.xxx.xxx") == [None] * 9


def test_a_share_counts_only_once_enough_were_seen() -> None:
    assert play(PartitionHistory(SHARE), "xx.....x")[-1] == "3 of the last 8 records are bad"
    assert play(PartitionHistory(SHARE), "xx.....") == [None, None]


def test_the_window_slides() -> None:
    history = PartitionHistory(SHARE)
    assert play(history, "xx" + "." * 20 + "xxxxx") == [None] * 7
    assert history.refuses() == "6 of the last 20 records are bad"


def test_half_open_lets_one_go() -> None:
    history = PartitionHistory(RUN)
    play(history, "xxxx")
    history.half_open()
    assert play(history, "xx") == [None, "3 dead letters in a row"]


def test_a_good_record_closes_the_matter() -> None:
    history = PartitionHistory(RUN)
    play(history, "xxxx")
    history.half_open()
    assert play(history, ".xxx") == [None] * 3


@given(st.text(alphabet=".x", max_size=200))
def test_a_copy_answers_alike_and_leaves_the_original(outcomes: str) -> None:
    history = PartitionHistory(SHARE)
    twin = history.copy()
    assert play(twin, outcomes) == play(history.copy(), outcomes)
    assert play(history, outcomes[:10]) == play(PartitionHistory(SHARE), outcomes[:10])
