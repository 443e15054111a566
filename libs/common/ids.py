"""Deterministic ids: the same thing seen twice has the same id, so that it is stored once."""

from hashlib import sha1
from typing import Final
from uuid import UUID

# Equal to a `uuid.UUID` of the same bytes, and many times faster to make, to hash and to send to the database.
from asyncpg.pgproto.pgproto import UUID as FastUUID

_VERSION: Final = 0x50
_VARIANT: Final = 0x80


def named_uuid(name: bytes) -> UUID:
    """`uuid5` of the namespace's bytes followed by a name."""
    digest = bytearray(sha1(name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | _VERSION
    digest[8] = digest[8] & 0x3F | _VARIANT
    return FastUUID(bytes(digest))


def fast_uuid(slow: UUID) -> UUID:
    """The same id, for one that goes into many rows."""
    return FastUUID(slow.bytes)


class ResourceIds:
    """Ids of the BiQuery records of one connector: one per resource."""

    __slots__ = ("_start",)

    def __init__(self, tenant: UUID, connector: UUID) -> None:
        self._start = tenant.bytes + f"{connector}\n".encode()

    def __call__(self, resource_type: str, resource_id: str) -> UUID:
        return named_uuid(self._start + f"{resource_type}\n{resource_id}".encode())


def bi_query_id(tenant: UUID, connector: UUID, resource_type: str, resource_id: str) -> UUID:
    """Id of a BiQuery record."""
    return ResourceIds(tenant, connector)(resource_type, resource_id)
