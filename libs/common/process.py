"""How a service's process runs: logs, traces, then its application until SIGTERM."""

import gc
from collections.abc import Callable
from typing import Final, TypeVar

from starlette.types import ASGIApp

from libs.common.http import serve
from libs.common.settings import ServiceSettings
from libs.common.telemetry import setup_logging, setup_tracing

S = TypeVar("S", bound=ServiceSettings)


OBJECTS: Final = 100_000


def calm_collector(objects: int = OBJECTS) -> None:
    """Look for cycles less often: a batch of records is 50,000 objects that are all in use and hold no cycle.

    `objects`: how many more there are at each look; above what the process has in hand at most.
    """
    gc.set_threshold(objects, 10, 10)


def run(service: str, settings_model: type[S], build: Callable[[S], ASGIApp], *, objects: int = OBJECTS) -> None:
    """Read the settings from the environment, build the application, serve it."""
    settings = settings_model()
    calm_collector(objects)
    setup_logging(service, settings)
    setup_tracing(service, settings)
    serve(build(settings), settings)
