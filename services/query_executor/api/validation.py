"""Routes that check queries without running them, and that show what they said before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import Response

from libs.common.http import Caller
from services.query_executor.api.common import AppSlug, QuerySlug, many, one
from services.query_executor.api.problems import problems
from services.query_executor.api.queries import Anybody
from services.query_executor.api.slashes import ROOT
from services.query_executor.domain import ConnectionType
from services.query_executor.errors import TenantSchemaRequired
from services.query_executor.schemas import Many, One
from services.query_executor.schemas_validation import Call, Text, Validated, VersionOut
from services.query_executor.service.queries import Queries

_VALID: Final = "The query is valid"


@dataclass(frozen=True, slots=True)
class _Unsaved:
    connection_type: ConnectionType
    secret_key: str | None
    query_text: str
    parameters: tuple[Mapping[str, Any], ...]


def validations(service: Queries) -> APIRouter:
    """`…/queries/validate/`, `…/queries/{slug}/validate/`, `…/queries/{slug}/versions/`."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/analytics/queries", tags=["Analytics queries"])

    @router.post("/validate/", response_model=One[Validated], responses=problems(400, 404))
    async def validate_text(app_slug: AppSlug, body: Text, caller: Anybody) -> Response:
        """What saving would say of a text; nothing is saved, nothing reaches a server."""
        if caller.tenant is None and body.connection_type == "internal":
            raise TenantSchemaRequired
        text = _Unsaved(body.connection_type, body.secret_key, body.query_text, tuple(body.parameters))
        checked = await service.validate(caller.require_tenant(), app_slug, text, body.params)
        return one(Validated.of(checked), _VALID)

    @router.post("/{slug}/validate/", response_model=One[Validated], responses=problems(400, 404))
    async def validate_query(app_slug: AppSlug, slug: QuerySlug, caller: Caller, body: Call | None = None) -> Response:
        """Whether a saved query would still be proved, and with `params` whether a call would run."""
        tenant = caller.require_tenant()
        query = await service.get(tenant, app_slug, slug)
        checked = await service.validate(tenant, app_slug, query, body.params if body else None)
        return one(Validated.of(checked), _VALID)

    @router.get("/{slug}/versions/", response_model=Many[VersionOut], responses=problems(404))
    async def list_versions(app_slug: AppSlug, slug: QuerySlug, caller: Caller) -> Response:
        """What it said, who wrote it and when; the newest first."""
        found = await service.versions(caller.require_tenant(), app_slug, slug)
        return many([VersionOut.model_validate(each) for each in found])

    return router
