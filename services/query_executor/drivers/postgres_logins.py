"""Logins of the client that reads by columns (ADBC): it learns a server's types once, not for each connection."""

import threading
from typing import Any

from services.query_executor.optional import optional

adbc_driver_postgresql: Any = optional("adbc_driver_postgresql") if optional("pyarrow") else None
manager, dbapi = optional("adbc_driver_manager"), optional("adbc_driver_manager.dbapi")

AVAILABLE = adbc_driver_postgresql is not None


class Logins:
    """Of one driver, whose threads share it. What was learned is dropped with the last connection that uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._info = ""
        self._learned: Any = None

    def connect(self, info: str) -> Any:
        """A connection of its own; blocks. What another address says is learned anew. Raises what the client raises."""
        learned = self._held(info)
        try:
            return dbapi.Connection(learned, manager.AdbcConnection(learned._db))
        finally:
            learned.close()

    def _held(self, info: str) -> Any:
        with self._lock:
            if self._info == info:
                return self._learned.clone()
        fresh = dbapi._SharedDatabase(adbc_driver_postgresql.connect(info))  # whoever else waits need not wait for this
        with self._lock:
            self._drop()
            self._info, self._learned = info, fresh
            return fresh.clone()

    def close(self) -> None:
        """Forget; nothing is open on the server."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        learned, self._info, self._learned = self._learned, "", None
        if learned is not None:
            learned.close()
