"""Read-only, layer 1: proved from the statement alone, before anything reaches a server."""

from services.query_executor.guard.explain import Peeled, peel
from services.query_executor.guard.policy import Policy, Proof
from services.query_executor.guard.prove import prove

__all__ = ["Peeled", "Policy", "Proof", "peel", "prove"]
