"""Routes of audit events."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from libs.common.auth import Principal
from libs.common.event_rules import Refused
from libs.common.events import AuditRecorded
from libs.common.http import Caller, IdempotencyKey, creation_id, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, encode_cursor
from services.reporting.api.common import Since, Until, Wanted, position, unprocessable
from services.reporting.rows import AuditEvent
from services.reporting.schemas import AuditEventOut, NewAuditEvent, Page
from services.reporting.service.audit import AuditEvents
from services.reporting.store.audit import Filter


def audit_events(service: AuditEvents) -> APIRouter:
    """`/api/v1/audit-events`: list, append."""
    router = APIRouter(prefix="/api/v1/audit-events", tags=["Audit events"])

    @router.post("", status_code=201, responses=problems(403, 422))
    async def append_audit_event(
        body: NewAuditEvent, caller: Caller, request: Request, key: IdempotencyKey = None
    ) -> AuditEventOut:
        """Tell what happened elsewhere; needs the role `publisher` or `staff`."""
        event = _event(body, caller, body.event_id or creation_id(caller, request.url.path, key), service.now())
        try:
            return _out(await service.append(caller, event))
        except Refused as error:
            raise unprocessable(error) from None

    @router.get("", responses=problems(422))
    async def list_audit_events(
        caller: Caller,
        resource_type: Annotated[Wanted, Query(alias="resourceType", max_length=1024)] = None,
        resource_id: Annotated[Wanted, Query(alias="resourceId", max_length=1024)] = None,
        component_id: Annotated[UUID | None, Query(alias="componentId")] = None,
        actor_id: Annotated[Wanted, Query(alias="actorId", max_length=1024)] = None,
        action: Annotated[Wanted, Query(max_length=1024)] = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[AuditEventOut]:
        """The newest first."""
        wanted = action.upper() if action else None
        only = Filter(resource_type, resource_id, component_id, actor_id, wanted, since, until)
        found, last = cut(await service.page(caller.require_tenant(), only, position(cursor), limit + 1), limit)
        following = last and encode_cursor(last.occurred_at, last.id)
        return Page(items=[_out(each) for each in found], next_cursor=following)

    return router


def _event(body: NewAuditEvent, caller: Principal, event_id: UUID, now: datetime) -> AuditRecorded:
    told = body.model_dump(exclude_none=True)
    named = body.actor_id is not None or body.actor_username is not None
    who = {"actor_id": caller.subject, "actor_type": caller.actor_type, "actor_username": caller.username}
    own = {
        "tenant": caller.require_tenant(),
        "event_id": event_id,
        "environment": caller.environment,
        "event_type": body.event_type or f"{body.resource_type}_{body.action}".upper(),
    }
    return AuditRecorded.model_validate({"occurred_at": now, **told, **({} if named else who), **own})


def _out(event: AuditEvent) -> AuditEventOut:
    return AuditEventOut(
        event_id=event.id,
        occurred_at=event.occurred_at,
        environment=event.environment,
        action=event.action,
        event_type=event.event_type,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        component_id=event.component_id,
        actor_id=event.actor_id,
        actor_type=event.actor_type,
        actor_username=event.actor_username,
        previous_resource=event.previous_resource,
        current_resource=event.current_resource,
    )
