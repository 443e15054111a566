"""The kinds of warehouses that can be mined, in one table. A new one is a module and a line here."""

from collections.abc import Callable, Mapping
from typing import Any

from services.log_miner.warehouses.interface import (
    Batch,
    Cursor,
    Execution,
    OpenWarehouse,
    Position,
    Step,
    Warehouse,
    WarehouseError,
)
from services.log_miner.warehouses.postgres import Postgres
from services.log_miner.warehouses.postgres_connect import Resolve

# Each takes the settings of its own type.
WAREHOUSES: Mapping[str, Callable[[Any, Resolve], Warehouse]] = {"postgres": Postgres}

__all__ = [
    "WAREHOUSES",
    "Batch",
    "Cursor",
    "Execution",
    "OpenWarehouse",
    "Position",
    "Resolve",
    "Step",
    "Warehouse",
    "WarehouseError",
]
