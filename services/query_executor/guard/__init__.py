"""Read-only, layer 1: proved from the statement alone, before anything reaches a server."""

from services.query_executor.guard.policy import Policy, Proof
from services.query_executor.guard.prove import prove
from services.query_executor.guard.search import prove_search

__all__ = ["Policy", "Proof", "prove", "prove_search"]
