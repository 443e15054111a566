"""What goes where: the one table of routes that are passed through to a service."""

from collections.abc import Iterable
from dataclasses import dataclass, field
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

_REPORTING: Final = "/api/v1"
_REPORTS: Final[tuple[Route, ...]] = (
    *(Route("GET", f"{_REPORTING}/analytics/{name}", "reporting") for name in ("catalog", "dora", "usage", "export")),
    Route("GET", f"{_REPORTING}/analytics/dora/explain", "reporting"),
    Route("GET", f"{_REPORTING}/analytics/scorecards", "reporting"),
    *_crud(f"{_REPORTING}/components", f"{_REPORTING}/components/{{component_id}}", "reporting"),
    Route("POST", f"{_REPORTING}/components/import", "reporting"),
    *_crud(f"{_REPORTING}/environments", f"{_REPORTING}/environments/{{environment_id}}", "reporting"),
    Route("GET", f"{_REPORTING}/deployments", "reporting"),
    Route("POST", f"{_REPORTING}/deployments", "reporting"),
    Route("GET", f"{_REPORTING}/deployments/parked", "reporting"),
    Route("GET", f"{_REPORTING}/deployments/{{deployment_id}}", "reporting"),
    Route("PATCH", f"{_REPORTING}/deployments/{{deployment_id}}", "reporting"),
    Route("GET", f"{_REPORTING}/audit-events", "reporting"),
    Route("POST", f"{_REPORTING}/audit-events", "reporting"),
)

ROUTES: Final[tuple[Route, ...]] = (
    *_ANALYTICS,
    *_REPORTS,
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


@dataclass(slots=True)
class _Node:
    """What may follow a beginning of a path: known segments, a parameter, or its end."""

    known: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: list[tuple[list[str], Route]] = field(default_factory=list)

    def next(self, part: str) -> "_Node":
        """The node behind a segment of a pattern, made where there is none."""
        if not _is_parameter(part):
            return self.known.setdefault(part, _Node())
        self.parameter = self.parameter or _Node()
        return self.parameter

    def find(self, segments: list[str], at: int = 0) -> list[tuple[list[str], Route]]:
        """All routes whose pattern fits the segments from here on, each with the parts of that pattern."""
        if at == len(segments):
            return self.routes
        known, found = self.known.get(segments[at]), list[tuple[list[str], Route]]()
        if known is not None:
            found = known.find(segments, at + 1)
        if self.parameter is not None and segments[at] != "":
            found = [*found, *self.parameter.find(segments, at + 1)]
        return found


class RouteTable:
    """Finds routes by path, segment by segment."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._root = _Node()
        for route in routes:
            for spelling in route.spellings:
                parts, node = spelling.split("/"), self._root
                for part in parts:
                    node = node.next(part)
                node.routes.append((parts, route))

    def match(self, method: str, path: str) -> Match | None:
        """The route of a decoded path; None where the path is none of the table's, 405 where only the method is."""
        segments = path.split("/")
        if "." in segments or ".." in segments:
            raise NotRouted("Not Found")
        fitting = self._root.find(segments)
        if not fitting:
            return None
        for parts, route in fitting:
            if route.method == method:
                pairs = zip(parts, segments, strict=True)
                return Match(route, tuple((part[1:-1], value) for part, value in pairs if _is_parameter(part)))
        allowed = ", ".join(sorted({route.method for _, route in fitting}))
        raise MethodNotAllowed("Method Not Allowed", headers={"Allow": allowed})


def service_of(route: Route, connector_type: str | None, warehouse: frozenset[str], bi: frozenset[str]) -> str:
    """The service behind a route; 400 for a connector whose type does not fit."""
    if route.needs is Needs.WAREHOUSE and connector_type not in warehouse:
        raise BadRequest(f"Connector is not a warehouse type; supported: {', '.join(sorted(warehouse))}.")
    if route.needs is Needs.BI and connector_type not in bi:
        raise BadRequest(f"Connector is not a BI type; supported: {', '.join(sorted(bi))}.")
    if route.service == BY_CONNECTOR_TYPE:
        return "log_miner" if connector_type in warehouse else "scraper"
    return route.service
