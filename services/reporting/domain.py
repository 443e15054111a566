"""What the words of the catalogue and of deployments are. Pure."""

from typing import Final, Literal, TypeAlias, get_args

Lifecycle: TypeAlias = Literal["production", "experimental", "planned", "deprecated", "decommissioned"]
Tier: TypeAlias = Literal["production", "staging", "testing", "development", "other"]
Status: TypeAlias = Literal["PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK"]

# In the order in which reports show them.
LIFECYCLES: Final[tuple[Lifecycle, ...]] = get_args(Lifecycle)


def folded(ref: str) -> str:
    """A name as others may spell it: without blanks around it, in lower case."""
    return ref.strip().lower()
