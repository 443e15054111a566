"""Routes of secrets and their types."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from libs.common.http import Caller, IdempotencyKey
from services.query_executor.api.common import AppSlug, KeyInPath, done, many, named, new_id, one
from services.query_executor.api.problems import problems
from services.query_executor.api.slashes import ROOT
from services.query_executor.schemas import (
    Done,
    Many,
    NewSecret,
    NewSecretType,
    One,
    SecretChange,
    SecretOut,
    SecretRotation,
    SecretTypeOut,
)
from services.query_executor.service.apps import Apps
from services.query_executor.service.secrets import NewSecret as New
from services.query_executor.service.secrets import Secrets


def secret_types(service: Apps) -> APIRouter:
    """`/api/apps/{app_slug}/secrets/types/`: list, create."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/secrets/types", tags=["Secrets"])

    @router.get("/", response_model=Many[SecretTypeOut], responses=problems(404))
    async def list_secret_types(app_slug: AppSlug, caller: Caller) -> Response:
        """The types that each tenant has from the beginning, and its own. All apps share them."""
        found = await service.types(caller.require_tenant(), app_slug)
        return many([SecretTypeOut.of(each) for each in found])

    @router.post("/", status_code=201, response_model=One[SecretTypeOut], responses=problems(400, 404, 409))
    async def create_secret_type(app_slug: AppSlug, body: NewSecretType, caller: Caller) -> Response:
        """A type of plain keys and values, for `{{ secret.key }}`."""
        made = await service.create_type(caller, app_slug, body.slug, body.name, body.description)
        return one(SecretTypeOut.of(made), "Secret type created successfully", 201)

    return router


def _changes(body: SecretChange) -> dict[str, Any]:
    changes = named(body)
    if "settings" in changes:
        changes["settings"] = body.settings.model_dump(mode="json", exclude_defaults=True)
    return changes


def secrets(service: Secrets) -> APIRouter:
    """`/api/apps/{app_slug}/secrets/`: create, list, read without the value, change, rotate, delete."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/secrets", tags=["Secrets"])

    @router.post("/", status_code=201, response_model=One[SecretOut], responses=problems(400, 404, 409))
    async def create_secret(
        app_slug: AppSlug, body: NewSecret, caller: Caller, request: Request, key: IdempotencyKey = None
    ) -> Response:
        new = New(body.key, body.type_slug, body.value, body.description, body.settings)
        made = await service.create(caller, app_slug, new_id(caller, request, key), new)
        return one(SecretOut.model_validate(made), "Secret created successfully", 201)

    @router.get("/", response_model=Many[SecretOut], responses=problems(404))
    async def list_secrets(app_slug: AppSlug, caller: Caller) -> Response:
        found = await service.all(caller.require_tenant(), app_slug)
        return many([SecretOut.model_validate(each) for each in found])

    @router.get("/{key}/", response_model=One[SecretOut], responses=problems(404))
    async def get_secret(app_slug: AppSlug, key: KeyInPath, caller: Caller) -> Response:
        return one(SecretOut.model_validate(await service.get(caller.require_tenant(), app_slug, key)))

    @router.put("/{key}/", response_model=One[SecretOut], responses=problems(400, 404, 409))
    @router.patch("/{key}/", response_model=One[SecretOut], responses=problems(400, 404, 409))
    async def change_secret(app_slug: AppSlug, key: KeyInPath, body: SecretChange, caller: Caller) -> Response:
        changed = await service.change(caller, app_slug, key, _changes(body))
        return one(SecretOut.model_validate(changed), "Secret updated successfully")

    @router.post("/{key}/rotate/", response_model=One[SecretOut], responses=problems(400, 404, 409))
    async def rotate_secret(app_slug: AppSlug, key: KeyInPath, body: SecretRotation, caller: Caller) -> Response:
        """Executions that begin from now on use the new value."""
        changed = await service.change(caller, app_slug, key, {"value": body.value})
        return one(SecretOut.model_validate(changed), "Secret rotated successfully")

    @router.delete("/{key}/", response_model=Done, responses=problems(404))
    async def delete_secret(app_slug: AppSlug, key: KeyInPath, caller: Caller) -> Response:
        """Queries that run through it answer `Secret not found` from then on."""
        await service.delete(caller, app_slug, key)
        return done("Secret deleted successfully")

    return router
