"""Ports of 127.0.0.1, the only address that a local stack listens on."""

import contextlib
import secrets
import socket

LOOPBACK = "127.0.0.1"
SERVER_PORTS = range(20_000, 32_000)
_given = set[int]()
_share = SERVER_PORTS


def keep_to_share(number: int, of: int) -> None:
    """Of processes that run side by side, each with another number below `of`, no two give the same port."""
    global _share
    _share = SERVER_PORTS[number::of]


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Different ports that are free now, outside the range from which systems take the ports of clients.

    A client that tries again and again to reach a stopped server on a port of that range will one day be given the
    very port by the system, be connected with itself, and keep the server from coming back. No port is given twice by
    one process: whoever got it may not listen yet, or not listen for a while.
    """
    free: list[int] = []
    while len(free) < count:
        port = _share[secrets.randbelow(len(_share))]
        if port not in _given and port_is_free(port):
            _given.add(port)
            free.append(port)
    return free


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def accepts(port: int) -> bool:
    """Whether somebody listens on this port now."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False
