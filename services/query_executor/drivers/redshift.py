"""Amazon Redshift through asyncpg, whose protocol it speaks; what Postgres 8 did not know is left out.

Redshift reads BEGIN READ ONLY without promising much by it: here the parser and the user's rights count.
"""

from typing import Final

from services.query_executor.drivers import Limits
from services.query_executor.drivers.postgres import Flavour, PostgresDriver, secret_login
from services.query_executor.drivers.source import Make, Pooling, Resolve


def _begin(limits: Limits) -> str:
    """A time limit of the session's, which counts queueing too: there are no lock_timeout and no idle limits."""
    return f"SET statement_timeout TO {max(1, int(limits.seconds * 1000))}; BEGIN READ ONLY"


# A new session names itself and asks for nothing else: settings that Redshift lacks would end the login. It has no
# DISCARD; a statement of ours leaves settings only. Its `text` means 256 bytes and would cut values in silence.
REDSHIFT: Final = Flavour({"application_name": "tidemark-query"}, _begin, "RESET ALL", "varchar(65535)")


def maker(resolve: Resolve, pooling: Pooling) -> Make:
    """Makes drivers of this engine."""
    return lambda source: PostgresDriver(secret_login(source, resolve), pooling, REDSHIFT)
