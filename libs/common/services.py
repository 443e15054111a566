"""The services of the system: folder, schema and role prefix are the same word."""

SERVICES = (
    "gateway",
    "scraper",
    "log_miner",
    "aggregator",
    "query_executor",
    "reporting",
    "product_analytics",
    "exporter",
)


def dashed(service: str) -> str:
    """The name outside the code: consumer group, container, span."""
    return service.replace("_", "-")
