"""Composition root of product_analytics."""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from libs.common.http import create_app, serve
from libs.common.telemetry import setup_logging, setup_tracing
from services.product_analytics.settings import Settings

NAME = "product-analytics"


def build(settings: Settings) -> FastAPI:
    """The application, not yet started."""
    return create_app(NAME, settings, registry=CollectorRegistry())


def main() -> None:
    """Run the service."""
    settings = Settings()
    setup_logging(NAME, settings)
    setup_tracing(NAME, settings)
    serve(build(settings), settings)


if __name__ == "__main__":
    main()
