"""Deterministic ids: the same thing seen twice has the same id, so that it is stored once."""

from uuid import UUID, uuid5


def bi_query_id(tenant: UUID, connector: UUID, resource_type: str, resource_id: str) -> UUID:
    """Id of a BiQuery record: one per resource of a connector."""
    return uuid5(tenant, f"{connector}\n{resource_type}\n{resource_id}")
