"""Composition root of exporter."""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from libs.common.http import create_app
from libs.common.process import run
from services.exporter.settings import Settings

NAME = "exporter"


def build(settings: Settings) -> FastAPI:
    """The application, not yet started."""
    return create_app(NAME, settings, registry=CollectorRegistry())


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build)


if __name__ == "__main__":
    main()
