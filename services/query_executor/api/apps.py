"""Routes of apps."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from libs.common.http import Caller, IdempotencyKey
from services.query_executor.api.common import AppSlug, done, many, named, new_id, one
from services.query_executor.api.problems import problems
from services.query_executor.api.slashes import ROOT
from services.query_executor.schemas import AppChange, AppOut, Done, Many, NewApp, One
from services.query_executor.service.apps import Apps


def apps(service: Apps) -> APIRouter:
    """`/api/apps/`: create, list, read, change, delete."""
    router = APIRouter(prefix=ROOT, tags=["Apps"])

    @router.post("/", status_code=201, response_model=One[AppOut], responses=problems(400))
    async def create_app(body: NewApp, caller: Caller, request: Request, key: IdempotencyKey = None) -> Response:
        app_id = new_id(caller, request, key)
        made = await service.create(caller, app_id, body.name, body.description)
        return one(AppOut.model_validate(made), "App created successfully", 201)

    @router.get("/", response_model=Many[AppOut])
    async def list_apps(caller: Caller) -> Response:
        return many([AppOut.model_validate(each) for each in await service.all(caller.require_tenant())])

    @router.get("/{app_slug}/", response_model=One[AppOut], responses=problems(404))
    async def get_app(app_slug: AppSlug, caller: Caller) -> Response:
        return one(AppOut.model_validate(await service.get(caller.require_tenant(), app_slug)))

    @router.put("/{app_slug}/", response_model=One[AppOut], responses=problems(400, 404))
    @router.patch("/{app_slug}/", response_model=One[AppOut], responses=problems(400, 404))
    async def change_app(app_slug: AppSlug, body: AppChange, caller: Caller) -> Response:
        changed = await service.change(caller, app_slug, named(body))
        return one(AppOut.model_validate(changed), "App updated successfully")

    @router.delete("/{app_slug}/", response_model=Done, responses=problems(404))
    async def delete_app(app_slug: AppSlug, caller: Caller) -> Response:
        """With its secrets and queries."""
        await service.delete(caller, app_slug)
        return done("App deleted successfully")

    return router
