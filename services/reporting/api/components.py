"""Routes of components."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from libs.common.errors import TooLarge
from libs.common.http import Caller, IdempotencyKey, creation_id, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, encode_cursor
from services.reporting.api.common import Part, Wanted, position
from services.reporting.domain import Lifecycle
from services.reporting.schemas import ComponentOut, ComponentPatch, ImportOut, NewComponent, Page
from services.reporting.service.catalogue import Catalogue
from services.reporting.service.importing import Importing
from services.reporting.store.entries import Component

_MAX_FILE: Final = 512 * 1024
_FILE: Final = {"application/yaml": {"schema": {"type": "string", "description": "A Backstage `catalog-info.yaml`."}}}


def components(catalogue: Catalogue[Component], importing: Importing) -> APIRouter:
    """`/api/v1/components`: create, list, read, change, delete, import."""
    router = APIRouter(prefix="/api/v1/components", tags=["Components"])

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_component(
        body: NewComponent, caller: Caller, request: Request, key: IdempotencyKey = None
    ) -> ComponentOut:
        values = body.model_dump() | {"owner": body.owner or None, "refs": tuple(body.refs)}
        made = await catalogue.create(caller, creation_id(caller, request.url.path, key), values)
        return ComponentOut.model_validate(made)

    @router.get("", responses=problems(422))
    async def list_components(
        caller: Caller,
        name: Part = None,
        kind: Annotated[Wanted, Query(max_length=255)] = None,
        lifecycle: Lifecycle | None = None,
        owner: Annotated[Wanted, Query(max_length=255, description="Empty: nobody owns it.")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[ComponentOut]:
        asked = {"name": name, "kind": kind, "lifecycle": lifecycle, "owner": owner}
        only = {field: value for field, value in asked.items() if value is not None}
        found, last = cut(await catalogue.page(caller.require_tenant(), only, position(cursor), limit + 1), limit)
        following = last and encode_cursor(last.created_at, last.id)
        return Page(items=[ComponentOut.model_validate(each) for each in found], next_cursor=following)

    @router.post("/import", responses=problems(413, 422), openapi_extra={"requestBody": {"content": _FILE}})
    async def import_components(caller: Caller, request: Request) -> ImportOut:
        """Take over the components of a Backstage file, document by document; the same file again changes nothing."""
        file = await request.body()
        if len(file) > _MAX_FILE:
            raise TooLarge(f"The file is larger than {_MAX_FILE:,} bytes; send it in parts.")
        return ImportOut.model_validate(await importing.take(caller, file))

    @router.get("/{component_id}", responses=problems(404, 422))
    async def get_component(component_id: UUID, caller: Caller) -> ComponentOut:
        return ComponentOut.model_validate(await catalogue.get(caller.require_tenant(), component_id))

    @router.patch("/{component_id}", responses=problems(404, 409, 422))
    async def change_component(component_id: UUID, body: ComponentPatch, caller: Caller) -> ComponentOut:
        changes = body.changes()
        if "owner" in changes:
            changes["owner"] = body.owner or None
        return ComponentOut.model_validate(await catalogue.change(caller, component_id, changes, body.version))

    @router.delete("/{component_id}", status_code=204, responses=problems(404, 422))
    async def delete_component(component_id: UUID, caller: Caller) -> Response:
        """Its deployments stay on record."""
        await catalogue.delete(caller, component_id)
        return Response(status_code=204)

    return router
