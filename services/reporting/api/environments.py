"""Routes of environments."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from libs.common.http import Caller, IdempotencyKey, creation_id, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, encode_cursor
from services.reporting.api.common import Part, position
from services.reporting.domain import Tier, tier_of
from services.reporting.schemas import EnvironmentOut, EnvironmentPatch, NewEnvironment, Page
from services.reporting.service.catalogue import Catalogue
from services.reporting.store.entries import Environment


def environments(catalogue: Catalogue[Environment]) -> APIRouter:
    """`/api/v1/environments`: create, list, read, change, delete."""
    router = APIRouter(prefix="/api/v1/environments", tags=["Environments"])

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_environment(
        body: NewEnvironment, caller: Caller, request: Request, key: IdempotencyKey = None
    ) -> EnvironmentOut:
        values = body.model_dump() | {"tier": body.tier or tier_of(body.name), "refs": tuple(body.refs)}
        made = await catalogue.create(caller, creation_id(caller, request.url.path, key), values)
        return EnvironmentOut.model_validate(made)

    @router.get("", responses=problems(422))
    async def list_environments(
        caller: Caller,
        name: Part = None,
        tier: Tier | None = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[EnvironmentOut]:
        only = {field: value for field, value in {"name": name, "tier": tier}.items() if value is not None}
        found, last = cut(await catalogue.page(caller.require_tenant(), only, position(cursor), limit + 1), limit)
        following = last and encode_cursor(last.created_at, last.id)
        return Page(items=[EnvironmentOut.model_validate(each) for each in found], next_cursor=following)

    @router.get("/{environment_id}", responses=problems(404, 422))
    async def get_environment(environment_id: UUID, caller: Caller) -> EnvironmentOut:
        return EnvironmentOut.model_validate(await catalogue.get(caller.require_tenant(), environment_id))

    @router.patch("/{environment_id}", responses=problems(404, 409, 422))
    async def change_environment(environment_id: UUID, body: EnvironmentPatch, caller: Caller) -> EnvironmentOut:
        changed = await catalogue.change(caller, environment_id, body.changes(), body.version)
        return EnvironmentOut.model_validate(changed)

    @router.delete("/{environment_id}", status_code=204, responses=problems(404, 422))
    async def delete_environment(environment_id: UUID, caller: Caller) -> Response:
        """Deployments into it stay on record."""
        await catalogue.delete(caller, environment_id)
        return Response(status_code=204)

    return router
