"""Deterministic ids: the same thing seen twice has the same id, so that it is stored once. And ids of new things."""

from datetime import datetime
from hashlib import sha1
from os import urandom
from typing import Final
from uuid import UUID

# Equal to a `uuid.UUID` of the same bytes, and many times faster to make, to hash and to send to the database.
from asyncpg.pgproto.pgproto import UUID as FastUUID

# Of a digest's number all bits but those of version and variant; these two as a named UUID has them.
_KEPT: Final = 0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF
_MARKS: Final = 0x00000000_0000_5000_8000_000000000000


def named_uuid(name: bytes) -> UUID:
    """`uuid5` of the namespace's bytes followed by a name."""
    number = int.from_bytes(sha1(name, usedforsecurity=False).digest()[:16])
    return FastUUID((number & _KEPT | _MARKS).to_bytes(16))


def fast_uuid(slow: UUID) -> UUID:
    """The same id, for one that goes into many rows."""
    return FastUUID(slow.bytes)


class ResourceIds:
    """Ids of the BiQuery records of one connector: one per resource."""

    __slots__ = ("_start",)

    def __init__(self, tenant: UUID, connector: UUID) -> None:
        self._start = tenant.bytes + f"{connector}\n".encode()

    def __call__(self, resource_type: str, resource_id: str) -> UUID:
        return named_uuid(self.start(resource_type) + resource_id.encode())

    def start(self, resource_type: str) -> bytes:
        """How the names of one type's resources begin, of which `named_uuid` makes ids."""
        return self._start + f"{resource_type}\n".encode()


def bi_query_id(tenant: UUID, connector: UUID, resource_type: str, resource_id: str) -> UUID:
    """Id of a BiQuery record."""
    return ResourceIds(tenant, connector)(resource_type, resource_id)


def deployment_id(tenant: UUID, source: str, external_id: str) -> UUID:
    """Id of a deployment that its sender knows under an id of his own."""
    return named_uuid(tenant.bytes + f"deployment\n{source}\n{external_id}".encode())


def audit_event_id(tenant: UUID, source: str, event_id: str) -> UUID:
    """Id of an audit event whose sender names none but that of the message."""
    return named_uuid(tenant.bytes + f"audit\n{source}\n{event_id}".encode())


def uuid7(at: datetime) -> UUID:
    """A new id that sorts by time, to the millisecond (RFC 9562, version 7)."""
    milliseconds = int(at.timestamp() * 1000)
    number = milliseconds << 80 | int.from_bytes(urandom(10))
    return UUID(int=number & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)
