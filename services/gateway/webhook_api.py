"""Routes of webhook sources, and the one that their senders post to."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from libs.common.http import IdempotencyKey, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit
from services.gateway.callers import Caller, next_cursor, position_of
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.reported import Ignored, Status
from services.gateway.ingress.signatures import Headers
from services.gateway.ingress.webhooks import Incoming, Webhooks
from services.gateway.registry import webhook_models as models
from services.gateway.registry.models import Page
from services.gateway.registry.webhook_sources import WebhookSources
from services.gateway.store.webhook_sources import WebhookSource

_PAYLOAD: Final[dict[str, Any]] = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "title": "The sender's own payload"}}},
    },
}


class AcceptedDeployment(BaseModel):
    deployment_id: UUID
    status: Status


class WebhookAnswer(BaseModel):
    """202 with what was recorded, or 200 with the reason why there was nothing to record."""

    status: Literal["accepted", "ignored"]
    deployments: list[AcceptedDeployment] = []
    reason: str | None = None


def webhook_source_routes(sources: WebhookSources) -> APIRouter:
    """`/webhook-sources`."""
    router = APIRouter(prefix="/webhook-sources", tags=["webhooks"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_webhook_source(
        caller: Caller, body: models.CreateWebhookSource, key: IdempotencyKey = None
    ) -> models.NewWebhookSourceBody:
        """Needs the role `staff`. The answer holds the secret; it cannot be read again."""
        source, secret = await sources.create(caller, body, key)
        return _with_secret(sources, source, secret)

    @router.get("")
    async def list_webhook_sources(
        caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[models.WebhookSourceBody]:
        """Needs the role `staff`. In the order of creation."""
        found = await sources.page(caller, position_of(cursor), limit + 1)
        items = [_shown(sources, each) for each in found[:limit]]
        return Page(items=items, next_cursor=next_cursor(found, limit))

    @router.get("/{source_id}", responses=problems(404))
    async def get_webhook_source(caller: Caller, source_id: UUID) -> models.WebhookSourceBody:
        """Needs the role `staff`."""
        return _shown(sources, await sources.get(caller, source_id))

    @router.patch("/{source_id}", responses=problems(404, 409, 422))
    async def change_webhook_source(
        caller: Caller, source_id: UUID, body: models.ChangeWebhookSource
    ) -> models.WebhookSourceBody:
        """Needs the role `staff`. Takes effect everywhere within ten seconds."""
        return _shown(sources, await sources.change(caller, source_id, body))

    @router.delete("/{source_id}", status_code=204, responses=problems(404))
    async def delete_webhook_source(caller: Caller, source_id: UUID) -> None:
        """Needs the role `staff`. Its address is gone everywhere within ten seconds; what it told stays."""
        await sources.delete(caller, source_id)

    @router.post("/{source_id}/rotate", responses=problems(404, 409, 422))
    async def rotate_webhook_secret(
        caller: Caller, source_id: UUID, body: models.RotateWebhookSecret, key: IdempotencyKey = None
    ) -> models.NewWebhookSourceBody:
        """Needs the role `staff`. A new secret; the one before is valid too, until a given time or until revoked."""
        source, secret = await sources.rotate(caller, source_id, body, key)
        return _with_secret(sources, source, secret)

    @router.delete("/{source_id}/old-secret", status_code=204, responses=problems(404))
    async def revoke_old_webhook_secret(caller: Caller, source_id: UUID) -> None:
        """Needs the role `staff`. Only the newest secret is valid, everywhere within ten seconds."""
        await sources.revoke_old(caller, source_id)

    return router


def webhook_routes(webhooks: Webhooks) -> APIRouter:
    """`/webhooks`."""
    router = APIRouter(prefix="/webhooks", tags=["webhooks"])
    answers = {200: {"model": WebhookAnswer}, **problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503)}

    @router.post("/{source}", status_code=202, responses=answers, openapi_extra=_PAYLOAD)
    async def receive_webhook(
        request: Request,
        response: Response,
        source: Annotated[UUID, Path(description="Id of a webhook source.")],
    ) -> WebhookAnswer:
        """For other systems: verified by the source's secret, as its kind demands; no token of ours.

        202 once what it tells is stored for good; 200 where it tells nothing of a deployment. Both are final: only
        408, 429 and 503 ask for the same request again.
        """
        found = await webhooks.receive(source, Incoming(Headers(request.headers.raw), request.stream()))
        if isinstance(found, Ignored):
            response.status_code = 200
            return WebhookAnswer(status="ignored", reason=found.reason)
        told = [AcceptedDeployment(deployment_id=event.deployment_id, status=event.status) for event in found]
        return WebhookAnswer(status="accepted", deployments=told)

    # A redirect to the other spelling would be taken for a failure.
    router.post("/{source}/", status_code=202, include_in_schema=False)(receive_webhook)
    return router


def _values(sources: WebhookSources, source: WebhookSource) -> dict[str, Any]:
    valid = sources.old_secret_is_valid(source)
    names = ("id", "name", "kind", "environment", "enabled", "signed_only", "version", "created_at", "updated_at")
    return {
        **{name: getattr(source, name) for name in names},
        "mapping": SourceMapping.model_validate_json(source.mapping),
        "path": f"/webhooks/{source.id}",
        "old_secret_valid": valid,
        "old_secret_until": source.old_secret_until if valid else None,
    }


def _shown(sources: WebhookSources, source: WebhookSource) -> models.WebhookSourceBody:
    return models.WebhookSourceBody(**_values(sources, source))


def _with_secret(sources: WebhookSources, source: WebhookSource, secret: str) -> models.NewWebhookSourceBody:
    return models.NewWebhookSourceBody(**_values(sources, source), secret=secret)
