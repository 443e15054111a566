"""The kinds of BI tools that can be scraped, in one table. A new one is a module and a line here."""

from collections.abc import Callable, Mapping
from typing import Any

from services.scraper.tools.http_client import Resolve
from services.scraper.tools.interface import (
    Batch,
    BiTool,
    Cursor,
    Dashboard,
    Item,
    OpenTool,
    Position,
    Step,
    ToolError,
)
from services.scraper.tools.superset import Superset

# Each takes the settings of its own type.
TOOLS: Mapping[str, Callable[[Any, Resolve], BiTool]] = {"superset": Superset}

__all__ = [
    "TOOLS",
    "Batch",
    "BiTool",
    "Cursor",
    "Dashboard",
    "Item",
    "OpenTool",
    "Position",
    "Resolve",
    "Step",
    "ToolError",
]
