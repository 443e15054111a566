"""How much generated input a property is tried with: all of it, or what a developer waits for (`make unit`)."""

import os
from typing import Final

from hypothesis import HealthCheck, settings

QUICK: Final = "TEST_QUICK" in os.environ
_LEAST: Final = 20


def examples(count: int) -> int:
    """So many examples in a whole run, a tenth in a quick one."""
    return max(count // 10, _LEAST) if QUICK else count


def load_profile() -> None:
    """No time limits, for a machine may be slow; the same examples in each whole run, new ones in each quick one."""
    settings.register_profile(
        "tests",
        max_examples=examples(100),
        deadline=None,
        derandomize=not QUICK,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("tests")
