"""One OpenAPI document for the whole system: the gateway's own and what the services say of the routes it passes on."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

import aiohttp
import structlog

from services.gateway.routes import BY_CONNECTOR_TYPE, ROUTES, Route

Json = dict[str, Any]

_PARAMETER: Final = re.compile(r"\{[^}]*\}")
_COMPONENT: Final = "#/components/"
_SCHEMES: Final[Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the identity provider, or an API key (`tmk_…`).",
    }
}
_log = structlog.get_logger()


def shape(path: str) -> str:
    """A path without the names of its parameters."""
    return _PARAMETER.sub("{}", path)


def _exposed(service: str, routes: Iterable[Route]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (route.method.lower(), shape(route.pattern))
        for route in routes
        if route.service in (service, BY_CONNECTOR_TYPE)
    )


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A document with its references to components renamed."""
    if isinstance(node, list):
        return [_renamed(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: names.get(value, value) if key == "$ref" and isinstance(value, str) else _renamed(value, names)
        for key, value in node.items()
    }


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*(_references(each) for each in node))
    if not isinstance(node, dict):
        return set()
    found = set().union(*(_references(value) for value in node.values()))
    reference = node.get("$ref")
    return found | {reference} if isinstance(reference, str) else found


def _used_components(paths: Json, components: Json) -> Json:
    """Of the components those that the paths lead to, however far."""
    wanted, seen = _references(paths), set[str]()
    while wanted - seen:
        reference = (wanted - seen).pop()
        seen.add(reference)
        kind, _, name = reference.removeprefix(_COMPONENT).partition("/")
        wanted |= _references(components.get(kind, {}).get(name, {}))
    return {
        kind: kept
        for kind, members in components.items()
        if (kept := {name: each for name, each in members.items() if f"{_COMPONENT}{kind}/{name}" in seen})
    }


def _collisions(present: Json, components: Json, service: str) -> dict[str, str]:
    """New references for components whose name means something else already, by content or by what it leads to."""
    names: dict[str, str] = {}
    while True:
        before = len(names)
        for kind, members in components.items():
            for name, component in members.items():
                known = present.get(kind, {}).get(name)
                if known is not None and (known != component or _references(component) & names.keys()):
                    names[f"{_COMPONENT}{kind}/{name}"] = f"{_COMPONENT}{kind}/{service}_{name}"
        if len(names) == before:
            return names


def _merge_service(document: Json, service: str, other: Json, routes: Iterable[Route]) -> None:
    """Add the exposed paths of a service; a component that means something else here gets the service's prefix."""
    exposed = _exposed(service, routes)
    paths: Json = {}
    for path, item in other.get("paths", {}).items():
        kept = {method: operation for method, operation in item.items() if (method, shape(path)) in exposed}
        if kept:
            shared = {key: item[key] for key in ("parameters", "summary", "description") if key in item}
            paths[path] = {**shared, **kept}
    components = _used_components(paths, other.get("components", {}))
    components.pop("securitySchemes", None)
    names = _collisions(document["components"], components, service)
    for kind, members in components.items():
        present = document["components"].setdefault(kind, {})
        for name, component in members.items():
            new = names.get(f"{_COMPONENT}{kind}/{name}", name).rpartition("/")[2]
            present[new] = _renamed(component, names)
    for path, item in paths.items():
        document["paths"].setdefault(path, {}).update(_tagged(_renamed(item, names), service))


def _tagged(item: Json, service: str) -> Json:
    for operation in item.values():
        if isinstance(operation, dict) and "responses" in operation:
            operation["tags"] = operation.get("tags") or [service]
            if "operationId" in operation:
                operation["operationId"] = f"{service}_{operation['operationId']}"
    return item


def _with_our_errors(document: Json) -> Json:
    """FastAPI describes a 422 of its own making; here every error has the one shape, and 401 may come anywhere."""
    ours = f"{_COMPONENT}schemas/ErrorBody"
    names = {reference: ours for reference in _references(document) if reference.endswith("HTTPValidationError")}
    document = _renamed(document, names)
    schemas = document["components"].get("schemas", {})
    for name in [name for name in schemas if name.endswith(("HTTPValidationError", "ValidationError"))]:
        del schemas[name]
    if "ErrorBody" in schemas:
        refused = {"description": "Unauthorized", "content": {"application/json": {"schema": {"$ref": ours}}}}
        for operation in _operations(document["paths"]):
            operation["responses"].setdefault("401", refused)
    return document


def _operations(paths: Json) -> Iterator[Json]:
    for item in paths.values():
        yield from (each for each in item.values() if isinstance(each, dict) and "responses" in each)


def merge(own: Json, services: Mapping[str, Json | None], routes: Iterable[Route] = ROUTES) -> Json:
    """The document of the whole. A service without a document (None) is left out, and the description says so."""
    routes = tuple(routes)
    document = deepcopy(own)
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    document["security"] = [{"bearer": []}]
    for service, other in sorted(services.items()):
        if other is not None:
            _merge_service(document, service, deepcopy(other), routes)
    document = _with_our_errors(document)
    missing = sorted(service for service, other in services.items() if other is None)
    if missing:
        note = f"Left out, because they do not answer now: {', '.join(missing)}."
        info = document["info"]
        info["description"] = "\n\n".join(filter(None, (info.get("description"), note)))
        document["x-unavailable-services"] = missing
    return document


class Documents:
    """Fetches what the services say of themselves."""

    def __init__(self, session: aiohttp.ClientSession, upstreams: Mapping[str, str]) -> None:
        self._session = session
        served = {route.service for route in ROUTES}
        self._upstreams = {service: base for service, base in upstreams.items() if service in served}

    async def merged(self, own: Json) -> Json:
        """The document of the whole, as it is now."""
        found = await asyncio.gather(*(self._fetch(base) for base in self._upstreams.values()))
        return merge(own, dict(zip(self._upstreams, found, strict=True)))

    async def _fetch(self, base: str) -> Json | None:
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self._session.get(f"{base.rstrip('/')}/openapi.json", timeout=timeout) as answer:
                answer.raise_for_status()
                document: Json = await answer.json()
                return document
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            _log.warning("a service's OpenAPI document cannot be had", upstream=base, error=type(error).__name__)
            return None
