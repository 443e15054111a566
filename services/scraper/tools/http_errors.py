"""What the network did, as a stable cause and a sentence that names the fix; messages of libraries never pass."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from libs.common.egress import HostNotFound
from libs.common.errors import TidemarkError
from services.scraper.tools.interface import ToolError

# First match wins: subclasses stand before their bases. The last word says whether it may pass by itself.
_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str, bool], ...] = (
    (HostNotFound, "unknown_host", "The host of {base_url} is unknown to the name service.", True),
    (
        (aiohttp.ClientConnectorDNSError, socket.gaierror),
        "unknown_host",
        "The host of {base_url} is unknown to the name service.",
        True,
    ),
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        "tls_not_trusted",
        "The certificate of {base_url} is not trusted; repair it, or set verify_tls to false.",
        False,
    ),
    (
        (aiohttp.ClientSSLError, ssl.SSLError),
        "tls_failed",
        "TLS could not be set up with {base_url}; does the server speak https at this port?",
        False,
    ),
    (TimeoutError, "timeout", "{base_url} did not answer in time.", True),
    (aiohttp.ClientConnectorError, "unreachable", "{base_url} cannot be reached; is the address right?", True),
    (
        (aiohttp.ClientResponseError, aiohttp.InvalidURL),
        "not_http",
        "What answers at {base_url} does not speak HTTP as it should.",
        False,
    ),
    ((aiohttp.ClientError, OSError), "connection_lost", "The connection to {base_url} was lost.", True),
)


@contextmanager
def network_error(base_url: str) -> Iterator[None]:
    """Raise whatever the network or the egress policy does as a ToolError."""
    try:
        yield
    except ToolError:
        raise
    except (aiohttp.ClientError, OSError, TimeoutError, TidemarkError) as error:
        raise tool_error(error, base_url) from None


def tool_error(error: BaseException, base_url: str) -> ToolError:
    """The one of the table that fits."""
    for kinds, cause, text, passing in _CAUSES:
        if isinstance(error, kinds):
            return ToolError(cause, text.format(base_url=base_url), passing=passing)
    if isinstance(error, TidemarkError):
        return ToolError("host_refused", error.detail)
    return ToolError("unreachable", f"{base_url} cannot be reached.", passing=True)
