"""What a signal to a stack in the foreground means."""

import pytest

from deploy.local.foreground import Interrupts


@pytest.mark.parametrize(("pauses", "insists"), [([], False), ([0.0], False), ([0.2], False), ([1.0], True)])
def test_only_a_later_signal_insists(pauses: list[float], insists: bool) -> None:
    now = [100.0]
    interrupts = Interrupts(lambda: now[0])
    found = interrupts.again()
    for pause in pauses:
        now[0] += pause
        found = interrupts.again()
    assert interrupts.stopping.is_set()
    assert found is insists
