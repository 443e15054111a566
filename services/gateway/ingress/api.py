"""`/events`: events of other systems, and what they look like."""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from libs.common.errors import NotFound
from libs.common.event_docs import documents
from libs.common.http import problems
from services.gateway.ingress.cloudevents import BATCHED, STRUCTURED
from services.gateway.ingress.reading import OPEN_TYPES

_EVENT: Final = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "With `source` it names the event: sent again, it changes nothing."},
        "source": {"type": "string", "format": "uri-reference"},
        "type": {"type": "string", "description": f"One of {OPEN_TYPES}, or of CDEvents."},
        "time": {"type": "string", "format": "date-time"},
        "subject": {"type": "string"},
        "data": {"type": "object", "description": "As in `/events/schemas/`, in snake case or camel case."},
    },
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": _EVENT},
            BATCHED: {"schema": {"type": "array", "items": _EVENT}},
            "application/json": {"schema": {"type": "object", "description": "Data; attributes in `ce-…` headers."}},
        },
    }
}


_PUBLIC: Final[dict[str, Any]] = {"security": []}


class ErrorOfField(BaseModel):
    field: str
    message: str


class Result(BaseModel):
    """What became of one event, by its place in the request."""

    index: int
    id: str | None
    status: str
    reason: str | None = None
    errors: list[ErrorOfField] | None = None


class Results(BaseModel):
    results: list[Result]


def event_routes() -> APIRouter:
    """`POST` and `OPTIONS /events`."""
    router = APIRouter(prefix="/events", tags=["events"])

    @router.post(
        "",
        status_code=202,
        response_model=None,
        responses={202: {"model": Results}, **problems(401, 403, 413, 415, 422, 429, 503)},
        openapi_extra=_BODY,
    )
    async def publish_events() -> Response:
        """Publish CloudEvents 1.0: one (structured or binary) or a batch. Needs the role `publisher`, or `staff`.

        202 when the broker has them. Of a batch, what is valid is taken and what is not is named; 422 where nothing is
        valid. After 429 and 503 send all again: an event is known by `source` and `id`.
        """
        raise AssertionError("the edge answers this route")

    @router.options("", include_in_schema=False)
    @router.options("/", include_in_schema=False)
    async def permit(request: Request) -> Response:
        """The handshake by which a sender of CloudEvents asks whether it may send here."""
        headers = {"Allow": "POST, OPTIONS", "WebHook-Allowed-Rate": "*"}
        origin = request.headers.get("webhook-request-origin")
        if origin:
            headers["WebHook-Allowed-Origin"] = origin
        return Response(status_code=200, headers=headers)

    return router


def schema_routes() -> APIRouter:
    """`/events/schemas/` and `/events/asyncapi.json`: what docs/events holds, made from the code that runs."""
    router = APIRouter(prefix="/events", tags=["events"])
    files = {name: text for name, text in documents().items() if name.endswith(".json")}
    schemas = sorted(name.removeprefix("schemas/") for name in files if name.startswith("schemas/"))

    @router.get("/schemas", include_in_schema=False)
    @router.get("/schemas/", openapi_extra=_PUBLIC)
    async def list_event_schemas() -> dict[str, list[dict[str, str]]]:
        """The JSON Schemas of all events. Public, as the other documents of the API are."""
        return {"items": [{"name": name.removesuffix(".json"), "path": f"/events/schemas/{name}"} for name in schemas]}

    @router.get("/schemas/{name}.json", responses=problems(404), openapi_extra=_PUBLIC)
    async def get_event_schema(name: str) -> Response:
        """A JSON Schema (2020-12). Public."""
        return _document(files.get(f"schemas/{name}.json"), "application/schema+json")

    @router.get("/asyncapi.json", openapi_extra=_PUBLIC)
    async def get_asyncapi() -> Response:
        """Topics and messages as AsyncAPI 3.0. Public."""
        return _document(files.get("asyncapi.json"), "application/json")

    return router


def _document(text: str | None, media_type: str) -> Response:
    if text is None:
        raise NotFound("There is no such schema; `/events/schemas/` lists them.")
    return Response(text, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})
