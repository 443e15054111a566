"""What goes where: the one table of routes that are passed through to a service."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from uuid import UUID

from libs.common.errors import BadRequest, TidemarkError, Unprocessable


class Needs(Enum):
    """What must be true of a request before it goes inward."""

    CALLER = auto()  # any valid token: the service says what is missing without a tenant
    TENANT = auto()
    CONNECTOR = auto()  # {connector_id} is one of the tenant's
    WAREHOUSE = auto()  # … of a warehouse type
    BI = auto()  # … of a BI type


BY_CONNECTOR_TYPE: Final = "by connector type"


@dataclass(frozen=True, slots=True)
class Route:
    """A pass-through route. Parameters named …_id are UUIDs. The path inside is the path outside.

    A pattern that ends with a slash fits without it too: the service takes both.
    """

    method: str
    pattern: str
    service: str
    needs: Needs = Needs.TENANT

    @property
    def template(self) -> str:
        """As it stands in metrics, spans and the idempotency table."""
        return f"{self.method} {self.pattern}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The pattern, and where it ends with a slash the same without it."""
        return (self.pattern, self.pattern[:-1]) if self.pattern.endswith("/") else (self.pattern,)


def _crud(collection: str, item: str, service: str) -> tuple[Route, ...]:
    on_item = tuple(Route(method, item, service) for method in ("GET", "PATCH", "DELETE"))
    return (Route("GET", collection, service), Route("POST", collection, service), *on_item)


def _each(methods: str, pattern: str, needs: Needs = Needs.TENANT) -> tuple[Route, ...]:
    return tuple(Route(method, pattern, "query_executor", needs) for method in methods.split())


_SECRETS: Final = "/api/apps/{app_slug}/secrets/"
_QUERIES: Final = "/api/apps/{app_slug}/analytics/queries/"
_EXECUTION: Final = "/api/apps/{app_slug}/analytics/executions/{key}/"
_ANALYTICS: Final[tuple[Route, ...]] = (
    *_each("GET POST", "/api/apps/"),
    *_each("GET PUT PATCH DELETE", "/api/apps/{app_slug}/"),
    *_each("GET POST", f"{_SECRETS}types/"),
    *_each("GET POST", _SECRETS),
    *_each("GET PUT PATCH DELETE", _SECRETS + "{key}/"),
    *_each("POST", _SECRETS + "{key}/rotate/"),
    *_each("GET", _SECRETS + "{key}/schema/"),
    *_each("POST", _SECRETS + "{key}/test/"),
    *_each("GET", _QUERIES),
    *_each("POST", _QUERIES, Needs.CALLER),
    *_each("POST", _QUERIES + "validate/", Needs.CALLER),
    *_each("GET PUT DELETE", _QUERIES + "{slug}/"),
    *_each("POST", _QUERIES + "{slug}/execute/", Needs.CALLER),
    *_each("GET", _QUERIES + "{slug}/executions/"),
    *_each("GET PUT DELETE", _QUERIES + "{slug}/schedule/"),
    *_each("GET", _EXECUTION),
    *_each("GET", _EXECUTION + "result/"),
    *_each("POST", _EXECUTION + "cancel/"),
    *_each("GET", _QUERIES + "{slug}/versions/"),
    *_each("POST", _QUERIES + "{slug}/validate/"),
)

ROUTES: Final[tuple[Route, ...]] = (
    *_ANALYTICS,
    Route("POST", "/connectors/{connector_id}/test", BY_CONNECTOR_TYPE, Needs.CONNECTOR),
    Route("GET", "/connectors/{connector_id}/schedule", BY_CONNECTOR_TYPE, Needs.CONNECTOR),
    Route("POST", "/connectors/{connector_id}/bi-sync", "scraper", Needs.BI),
    Route("GET", "/connectors/{connector_id}/sync-jobs", "scraper", Needs.CONNECTOR),
    Route("GET", "/sync-jobs/{job_id}", "scraper"),
    Route("POST", "/sync-jobs/{job_id}/cancel", "scraper"),
    Route("POST", "/connectors/{connector_id}/query-log-mining", "log_miner", Needs.WAREHOUSE),
    Route("GET", "/connectors/{connector_id}/mining-jobs", "log_miner", Needs.CONNECTOR),
    Route("GET", "/mining-jobs/{job_id}", "log_miner"),
    Route("POST", "/mining-jobs/{job_id}/cancel", "log_miner"),
    Route("GET", "/connectors/{connector_id}/queries", "aggregator", Needs.CONNECTOR),
    *_crud("/spaces", "/spaces/{slug}", "aggregator"),
    *_crud("/spaces/{slug}/products", "/spaces/{slug}/products/{product_id}", "aggregator"),
    Route("GET", "/spaces/{slug}/products/{product_id}/usage", "aggregator"),
    Route("POST", "/spaces/{slug}/usage/aggregate", "aggregator"),
    Route("GET", "/spaces/{slug}/usage", "aggregator"),
    Route("GET", "/spaces/{slug}/usage/unused", "aggregator"),
    Route("GET", "/spaces/{slug}/usage/popular-queries", "aggregator"),
    Route("GET", "/spaces/{slug}/usage/unmatched", "aggregator"),
)


class NotRouted(TidemarkError):
    """The request fits no route: nobody looked at who sent it."""

    status = 404
    code = "not_found"


class MethodNotAllowed(NotRouted):
    status = 405
    code = "method_not_allowed"


@dataclass(frozen=True, slots=True)
class Match:
    """A route and what stands in the places of its parameters."""

    route: Route
    parameters: tuple[tuple[str, str], ...]

    def uuid(self, name: str) -> UUID:
        """A parameter as a UUID; 422 for a malformed one."""
        value = dict(self.parameters)[name]
        try:
            if len(value) != 36:
                raise ValueError
            return UUID(value)
        except ValueError:
            errors = [{"field": name, "message": "must be a UUID"}]
            raise Unprocessable(f"{name}: must be a UUID", errors=errors) from None

    def check(self) -> None:
        """422 where an id is malformed."""
        for name, _ in self.parameters:
            if name.endswith("_id"):
                self.uuid(name)


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{")


class RouteTable:
    """Finds routes by path, quickly: by the number of segments, then segment by segment."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        for route in routes:
            for spelling in route.spellings:
                segments = spelling.split("/")
                self._by_length.setdefault(len(segments), []).append((segments, route))

    def match(self, method: str, path: str) -> Match | None:
        """The route of a decoded path; None where the path is none of the table's, 405 where only the method is."""
        segments = path.split("/")
        if "." in segments or ".." in segments:
            raise NotRouted("Not Found")
        fitting = [each for each in self._by_length.get(len(segments), ()) if _fits(each[0], segments)]
        if not fitting:
            return None
        for parts, route in fitting:
            if route.method == method:
                pairs = zip(parts, segments, strict=True)
                return Match(route, tuple((part[1:-1], value) for part, value in pairs if _is_parameter(part)))
        allowed = ", ".join(sorted({route.method for _, route in fitting}))
        raise MethodNotAllowed("Method Not Allowed", headers={"Allow": allowed})


def _fits(parts: list[str], segments: list[str]) -> bool:
    pairs = zip(parts, segments, strict=True)
    return all(part == segment or (_is_parameter(part) and segment != "") for part, segment in pairs)


def service_of(route: Route, connector_type: str | None, warehouse: frozenset[str], bi: frozenset[str]) -> str:
    """The service behind a route; 400 for a connector whose type does not fit."""
    if route.needs is Needs.WAREHOUSE and connector_type not in warehouse:
        raise BadRequest(f"Connector is not a warehouse type; supported: {', '.join(sorted(warehouse))}.")
    if route.needs is Needs.BI and connector_type not in bi:
        raise BadRequest(f"Connector is not a BI type; supported: {', '.join(sorted(bi))}.")
    if route.service == BY_CONNECTOR_TYPE:
        return "log_miner" if connector_type in warehouse else "scraper"
    return route.service
