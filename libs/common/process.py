"""How a service's process runs: logs, traces, then its application until SIGTERM."""

from collections.abc import Callable
from typing import TypeVar

from starlette.types import ASGIApp

from libs.common.http import serve
from libs.common.settings import ServiceSettings
from libs.common.telemetry import setup_logging, setup_tracing

S = TypeVar("S", bound=ServiceSettings)


def run(service: str, settings_model: type[S], build: Callable[[S], ASGIApp]) -> None:
    """Read the settings from the environment, build the application, serve it."""
    settings = settings_model()
    setup_logging(service, settings)
    setup_tracing(service, settings)
    serve(build(settings), settings)
