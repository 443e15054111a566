"""Routes that look at a connection: what it can read, and whether it works."""

from fastapi import APIRouter
from fastapi.responses import Response

from libs.common.http import Caller, IdempotencyKey
from services.query_executor.api.common import AppSlug, KeyInPath, many, one
from services.query_executor.api.problems import problems
from services.query_executor.api.slashes import ROOT
from services.query_executor.schemas import One, SchemaPage, SecretTest, TableOut
from services.query_executor.service.inspection import Inspection


def inspections(service: Inspection) -> APIRouter:
    """`/api/apps/{app_slug}/secrets/{key}/`: `schema/`, `test/`."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/secrets", tags=["Secrets"])

    @router.get("/{key}/schema/", response_model=SchemaPage, responses=problems(400, 404, 422, 502, 503, 504))
    async def get_schema(app_slug: AppSlug, key: KeyInPath, caller: Caller) -> Response:
        """Tables and columns that the connection may read."""
        tables, truncated = await service.schema(caller.require_tenant(), app_slug, key)
        return many([TableOut.model_validate(each) for each in tables], truncated=truncated)

    @router.post("/{key}/test/", response_model=One[SecretTest], responses=problems(400, 404))
    async def check_secret(app_slug: AppSlug, key: KeyInPath, caller: Caller, _key: IdempotencyKey = None) -> Response:
        """Connect, read, look at the login's rights; steps up to the first that fails. Warns where it may write."""
        steps = await service.check(caller.require_tenant(), app_slug, key)
        return one(SecretTest.model_validate({"ok": all(step.ok for step in steps), "steps": steps}))

    return router
