"""Hosts that users type: resolved once, judged, and the judged address is the one to dial.

A policy that looked at the name and dialled it later would resolve twice, and a name may answer differently then.
"""

import asyncio
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from libs.common.errors import BadGateway, Unprocessable

Address = IPv4Address | IPv6Address

_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.-])?|[0-9A-Fa-f:.]+")
_NAT64: Final = IPv6Network("64:ff9b::/96")
# What Python's own `is_global` lets through in some versions, and the public address of Azure's instance metadata.
_SPECIAL: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv4Network("168.63.129.16/32"))


class EgressRefused(Unprocessable):
    """The host is one that users may not reach from here."""

    code = "egress_refused"


class HostNotFound(BadGateway):
    """The name has no address, or none in time."""

    code = "host_not_found"


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped or address.sixtofour:
            return address.ipv4_mapped or address.sixtofour or address
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address lies on the open internet: not loopback, link-local, private, shared, reserved or metadata."""
    real = inner(address)
    special = real.is_multicast or real.is_reserved or any(real in network for network in _SPECIAL)
    return real.is_global and not special


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Public addresses, and what the operator allows beside them: networks, or names whatever they resolve to."""

    networks: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allow: Sequence[str]) -> "EgressPolicy":
        """From the setting: each entry a network (`10.0.0.0/8`), an address or a host name."""
        networks, names = list[str](), set[str]()
        for entry in allow:
            try:
                networks.append(str(ip_network(entry, strict=False)))
            except ValueError:
                names.add(_folded(entry))
        return cls(tuple(networks), frozenset(names))

    def allows(self, address: Address) -> bool:
        """Whether this address may be dialled."""
        real = inner(address)
        return is_public(address) or any(real in ip_network(network) for network in self.networks)

    async def address_of(self, host: str, port: int, *, timeout: float = 5.0) -> str:
        """The address to dial for a host. Raises EgressRefused, or HostNotFound after `timeout` seconds."""
        if not _HOST.fullmatch(host):
            raise EgressRefused("The host must be one host name or IP address.")
        found = await _resolve(host, port, timeout)
        if _folded(host) in self.names:
            return str(found[0])
        for address in found:
            if self.allows(address):
                return str(address)
        raise EgressRefused(
            f"Host {host!r} is on a loopback, link-local, private or metadata address, which is not allowed here;"
            " the operator can allow it by TIDEMARK_EGRESS_ALLOW."
        )


def _folded(name: str) -> str:
    return name.rstrip(".").lower()


async def _resolve(host: str, port: int, timeout: float) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise HostNotFound(f"Host {host!r} has no address that could be found.") from None
    return [ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
