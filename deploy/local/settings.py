"""Settings of the local stack: environment variables with the prefix TIDEMARK_LOCAL_."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).parents[2]
PREFIX = "TIDEMARK_LOCAL_"

Port = Annotated[int, Field(ge=1, le=65535)]
Directory = Annotated[Path, AfterValidator(Path.absolute)]  # processes have working directories of their own


class LocalSettings(BaseSettings):
    """Ports and places; every port is on 127.0.0.1."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    state_dir: Directory = Field(PROJECT / ".local", description="where all state of the local stack lies")
    artifacts_dir: Directory = Field(PROJECT / ".local" / "artifacts", description="where servers are unpacked")
    postgres_port: Port = Field(15432, description="the platform's PostgreSQL cluster")
    warehouse_port: Port = Field(15433, description="the demo warehouse, a second PostgreSQL cluster")
    kafka_port: Port = Field(19092, description="the broker")
    kafka_controller_port: Port = Field(19093, description="the broker's controller listener")
    kafka_heap: str = Field("256m", description="the broker's maximal Java heap")
    gateway_port: Port = Field(8080, description="the gateway")
    scraper_port: Port = Field(8081, description="the scraper")
    log_miner_port: Port = Field(8082, description="the log miner")
    aggregator_port: Port = Field(8083, description="the aggregator")
    query_executor_port: Port = Field(8084, description="the query executor")
    reporting_port: Port = Field(8085, description="reporting")
    product_analytics_port: Port = Field(8086, description="product analytics")
    exporter_port: Port = Field(8087, description="the exporter")
    superset_port: Port = Field(8088, description="Superset, while `make demo-superset` runs")

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        owners: dict[int, str] = {}
        for name in (name for name in type(self).model_fields if name.endswith("_port")):
            other = owners.setdefault(getattr(self, name), name)
            if other != name:
                raise ValueError(f"{setting_of(other)} and {setting_of(name)} are both {getattr(self, name)}")
        return self


def setting_of(field: str) -> str:
    """The environment variable that sets a field."""
    if field not in LocalSettings.model_fields:
        raise KeyError(field)
    return f"{PREFIX}{field.upper()}"
