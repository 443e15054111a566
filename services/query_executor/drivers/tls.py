"""TLS to a host that a user typed, at an address that was checked."""

import ssl
from typing import Any


class _Named(ssl.SSLContext):
    """Verifies the name that the user typed, although the address that was checked is dialled."""

    host: str

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **(kwargs | {"server_hostname": self.host}))


def verified(host: str) -> ssl.SSLContext:
    """The server must show a certificate for this host, from an authority that this machine trusts."""
    context = _Named(ssl.PROTOCOL_TLS_CLIENT)
    context.host = host
    context.load_default_certs()
    return context


def unverified() -> ssl.SSLContext:
    """Whoever answers is believed, as libpq's `require` does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
