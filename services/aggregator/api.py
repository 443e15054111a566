"""Routes of spaces and data products."""

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from libs.common.http import Caller, IdempotencyKey, creation_id, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from services.aggregator.schemas import (
    NewProduct,
    NewSpace,
    Page,
    ProductOut,
    ProductPatch,
    SpaceOut,
    SpacePatch,
    TableClaim,
)
from services.aggregator.service import Catalogue, ProductChange, SpaceChange
from services.aggregator.store.catalogue import Claim

SpaceSlug = Annotated[str, Path(max_length=63, description="The space's slug.")]


def _claims(tables: Iterable[TableClaim] | None) -> tuple[Claim, ...] | None:
    return None if tables is None else tuple(Claim(table.name, table.connector_id) for table in tables)


def _after(cursor: str | None) -> str | None:
    values = decode_cursor(cursor, str)
    return values[0] if values else None


def spaces(catalogue: Catalogue) -> APIRouter:
    """`/spaces`: create, list, read, change, delete."""
    router = APIRouter(prefix="/spaces", tags=["Spaces"])

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_space(body: NewSpace, caller: Caller, request: Request, key: IdempotencyKey = None) -> SpaceOut:
        space_id = creation_id(caller, request.url.path, key)
        space = await catalogue.create_space(caller, space_id, body.name, body.slug, body.description)
        return SpaceOut.model_validate(space)

    @router.get("", responses=problems(422))
    async def list_spaces(caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Page[SpaceOut]:
        found, last = cut(await catalogue.spaces(caller.require_tenant(), _after(cursor), limit + 1), limit)
        following = last and encode_cursor(last.slug)
        return Page(items=[SpaceOut.model_validate(space) for space in found], next_cursor=following)

    @router.get("/{slug}", responses=problems(404))
    async def get_space(slug: SpaceSlug, caller: Caller) -> SpaceOut:
        return SpaceOut.model_validate(await catalogue.space(caller.require_tenant(), slug))

    @router.patch("/{slug}", responses=problems(404, 409, 422))
    async def change_space(slug: SpaceSlug, body: SpacePatch, caller: Caller) -> SpaceOut:
        change = SpaceChange(body.name, body.slug, body.description)
        return SpaceOut.model_validate(await catalogue.change_space(caller, slug, change))

    @router.delete("/{slug}", status_code=204, responses=problems(404))
    async def delete_space(slug: SpaceSlug, caller: Caller) -> Response:
        await catalogue.delete_space(caller, slug)
        return Response(status_code=204)

    return router


def products(catalogue: Catalogue) -> APIRouter:
    """`/spaces/{slug}/products`: create, list, read, change, delete."""
    router = APIRouter(prefix="/spaces/{slug}/products", tags=["Data products"])

    @router.post("", status_code=201, responses=problems(404, 409, 422))
    async def create_product(
        slug: SpaceSlug, body: NewProduct, caller: Caller, request: Request, key: IdempotencyKey = None
    ) -> ProductOut:
        product_id = creation_id(caller, request.url.path, key)
        change = ProductChange(body.name, body.slug, body.description, _claims(body.tables))
        made = await catalogue.create_product(caller, slug, product_id, change, body.name)
        return ProductOut.model_validate(made)

    @router.get("", responses=problems(404, 422))
    async def list_products(
        slug: SpaceSlug, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[ProductOut]:
        found, last = cut(await catalogue.products(caller.require_tenant(), slug, _after(cursor), limit + 1), limit)
        following = last and encode_cursor(last.slug)
        return Page(items=[ProductOut.model_validate(each) for each in found], next_cursor=following)

    @router.get("/{product_id}", responses=problems(404, 422))
    async def get_product(slug: SpaceSlug, product_id: UUID, caller: Caller) -> ProductOut:
        return ProductOut.model_validate(await catalogue.product(caller.require_tenant(), slug, product_id))

    @router.patch("/{product_id}", responses=problems(404, 409, 422))
    async def change_product(slug: SpaceSlug, product_id: UUID, body: ProductPatch, caller: Caller) -> ProductOut:
        change = ProductChange(body.name, body.slug, body.description, _claims(body.tables))
        changed = await catalogue.change_product(caller, slug, product_id, change)
        return ProductOut.model_validate(changed)

    @router.delete("/{product_id}", status_code=204, responses=problems(404, 422))
    async def delete_product(slug: SpaceSlug, product_id: UUID, caller: Caller) -> Response:
        await catalogue.delete_product(caller, slug, product_id)
        return Response(status_code=204)

    return router
