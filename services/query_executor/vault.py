"""Values of secrets between the database, where they are sealed, and whoever opens a connection with them."""

from dataclasses import dataclass
from uuid import UUID

import orjson

from libs.common.sealed import KeyRing
from services.query_executor.secret_types import Connection, PlainValue, parse_value, plain_json
from services.query_executor.store.secrets import Secret


def _context(tenant: UUID, secret: UUID, version: int) -> str:
    """A sealed value cannot be moved to another secret, nor an older one put back."""
    return f"query-secret:{tenant}:{secret}:{version}"


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals and opens values."""

    keys: KeyRing

    def sealed(self, tenant: UUID, secret: UUID, version: int, value: Connection | PlainValue) -> str:
        return self.keys.seal(orjson.dumps(plain_json(value)), bound_to=_context(tenant, secret, version))

    def raw(self, tenant: UUID, secret: Secret) -> object:
        """The value as it was written. Raises CannotOpen."""
        opened = self.keys.open(secret.sealed_value, bound_to=_context(tenant, secret.id, secret.version))
        value: object = orjson.loads(opened)
        return value

    def opened(self, tenant: UUID, secret: Secret) -> Connection | PlainValue:
        """The value, checked by its type. Raises CannotOpen."""
        return parse_value(secret.type_slug, self.raw(tenant, secret))

    def digest(self, tenant: UUID, text: str) -> bytes:
        """What a text with values of secrets is recognised by, without being kept."""
        return self.keys.digests(text, bound_to=f"query-result:{tenant}")[0]
