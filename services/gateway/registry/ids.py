"""Ids of what the gateway itself creates."""

from uuid import UUID, uuid4, uuid5

from libs.common.auth import Principal

# Stands for "no tenant" where a superuser's token names none.
NO_TENANT = UUID(int=0)


def new_id(caller: Principal, route: str, key: str | None) -> UUID:
    """The same for the same tenant (or none), route and Idempotency-Key, else random."""
    return uuid5(caller.tenant or NO_TENANT, f"{route}\n{key}") if key else uuid4()
