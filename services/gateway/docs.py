"""`/docs` and `/openapi.json`. Every asset is served from here, so that they work without the internet."""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from libs.common.errors import NotFound
from libs.common.http import json_response
from services.gateway.openapi import Documents

_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}


def docs_routes(documents: Documents) -> APIRouter:
    """The document of the whole system and the page that shows it."""
    router = APIRouter(include_in_schema=False)
    package = files("fastapi_offline") / "static"

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        app: FastAPI = request.app
        return json_response(await documents.merged(app.openapi()))

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Tidemark API",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon.png",
        )

    @router.get("/docs/{name}")
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise NotFound("Not Found")
        content = (package / name).read_bytes()
        return Response(content, media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})

    return router


def without_builtin_openapi(app: FastAPI) -> None:
    """FastAPI's own `/openapi.json` knows the gateway only; it was there first and would answer."""
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) != app.openapi_url]
