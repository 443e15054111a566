"""The service behind the gateways: an application as all services have it, whose answer costs little."""

from fastapi import FastAPI
from fastapi.responses import Response
from prometheus_client import CollectorRegistry

from libs.common.http import Caller, create_app, json_response
from libs.common.process import run
from libs.common.settings import ServiceSettings

# 2.8 KB, as a page of ten products' figures has.
BODY = {
    "items": [
        {
            "product_id": f"7d1f0c58-9c0d-4d0b-9d52-{number:012d}",
            "name": f"Product number {number}",
            "query_count": 1200 + number,
            "unique_users": 40 + number,
            "last_queried_at": "2026-03-18T15:30:00Z",
            "popularity": 0.5,
            "top_columns": [{"name": f"public.orders.column_{column}", "count": 90 - column} for column in range(2)],
        }
        for number in range(10)
    ],
    "next_cursor": None,
}


def build(settings: ServiceSettings) -> FastAPI:
    """Answers the same to every caller whose internal token is good."""
    app = create_app("upstream", settings, registry=CollectorRegistry())

    @app.get("/spaces/{slug}/usage")
    async def usage(caller: Caller, slug: str) -> Response:
        return json_response(BODY)

    @app.get("/connectors/{connector_id}/queries")
    async def queries(caller: Caller, connector_id: str) -> Response:
        return json_response(BODY)

    return app


if __name__ == "__main__":
    run("upstream", ServiceSettings, build)
