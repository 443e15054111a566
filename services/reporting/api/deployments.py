"""Routes of deployments."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from libs.common.auth import Principal
from libs.common.errors import Unprocessable
from libs.common.event_rules import Refused
from libs.common.events import DeploymentRecorded
from libs.common.http import Caller, IdempotencyKey, creation_id, problems
from libs.common.ids import deployment_id
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, encode_cursor
from services.reporting.api.common import Since, Until, position, unprocessable
from services.reporting.arrivals import digest_id
from services.reporting.domain import NEXT, parked_reason
from services.reporting.schemas import (
    AnyCaseStatus,
    DeploymentOut,
    DeploymentPatch,
    DeploymentWithStatesOut,
    NewDeployment,
    Page,
    ParkedOut,
    StateOut,
)
from services.reporting.service.deployments import Deployments
from services.reporting.store.deployments import Filter
from services.reporting.store.parked import Parked


def deployments(service: Deployments) -> APIRouter:
    """`/api/v1/deployments`: tell a state, list, read, change through its states, see what is parked."""
    router = APIRouter(prefix="/api/v1/deployments", tags=["Deployments"])

    @router.post("", status_code=201, responses=problems(422))
    async def record_deployment(
        body: NewDeployment, caller: Caller, request: Request, response: Response, key: IdempotencyKey = None
    ) -> DeploymentOut:
        """Tell one state: 201 for a new deployment, 200 for another state of a known one."""
        made = creation_id(caller, request.url.path, key)
        event = _event(body, caller, made, service.now())
        try:
            recorded = await service.record(caller, event, made if key else digest_id(event))
        except Refused as error:
            raise unprocessable(error) from None
        response.status_code = 201 if recorded.is_new else 200
        return DeploymentOut.model_validate(recorded.deployment)

    @router.get("", responses=problems(422))
    async def list_deployments(
        caller: Caller,
        component: Annotated[UUID | None, Query(alias="componentId")] = None,
        environment: Annotated[UUID | None, Query(alias="environmentId")] = None,
        status: AnyCaseStatus | None = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[DeploymentOut]:
        """The newest moment first."""
        only = Filter(component, environment, status, since, until)
        found, last = cut(await service.page(caller.require_tenant(), only, position(cursor), limit + 1), limit)
        following = last and encode_cursor(last.moment, last.id)
        return Page(items=[DeploymentOut.model_validate(each) for each in found], next_cursor=following)

    @router.get("/parked", responses=problems(422))
    async def list_parked(caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Page[ParkedOut]:
        """What waits for its component or environment, the oldest first."""
        found, last = cut(await service.parked(caller.require_tenant(), position(cursor), limit + 1), limit)
        following = last and encode_cursor(last.parked_at, last.state.event_id)
        return Page(items=[_parked(each) for each in found], next_cursor=following)

    @router.get("/{deployment_id}", responses=problems(404, 422))
    async def get_deployment(deployment_id: UUID, caller: Caller) -> DeploymentWithStatesOut:
        found = await service.get(caller.require_tenant(), deployment_id)
        return DeploymentWithStatesOut(
            **DeploymentOut.model_validate(found.deployment).model_dump(),
            allowed=list(NEXT[found.deployment.status]),
            states=[StateOut.model_validate(each) for each in found.states],
        )

    @router.patch("/{deployment_id}", responses=problems(404, 409, 422))
    async def change_deployment(deployment_id: UUID, body: DeploymentPatch, caller: Caller) -> DeploymentOut:
        """Tell its next state, or more facts of the one that it is in."""
        facts = {name: value for name, value in body.named().items() if value is not None and name != "sequence"}
        try:
            changed = await service.change(caller, deployment_id, facts, body.sequence)
        except Refused as error:
            raise unprocessable(error) from None
        return DeploymentOut.model_validate(changed)

    return router


def _event(body: NewDeployment, caller: Principal, made: UUID, now: datetime) -> DeploymentRecorded:
    tenant = caller.require_tenant()
    if body.id is not None and body.external_id is not None:
        raise Unprocessable("externalId: send it or `id`, not both.", errors=_both("externalId"))
    foreign = deployment_id(tenant, body.source, body.external_id) if body.external_id else None
    facts = body.named()
    for name in ("id", "external_id"):
        facts.pop(name, None)
    own = {
        "tenant": tenant,
        "deployment_id": body.id or foreign or made,
        "source": body.source,
        "recorded_at": body.recorded_at or now,
        "deployed_by": body.deployed_by or caller.username,
    }
    return DeploymentRecorded.model_validate({**facts, **own})


def _both(field: str) -> list[dict[str, str]]:
    return [{"field": field, "message": "send it or `id`, not both"}]


def _parked(parked: Parked) -> ParkedOut:
    state = parked.state
    reason = parked_reason(
        None if parked.has_component else state.component_ref,
        None if parked.has_environment else state.environment_ref,
    )
    return ParkedOut(
        event_id=state.event_id,
        deployment_id=state.deployment_id,
        component_ref=state.component_ref,
        environment_ref=state.environment_ref,
        status=state.status,
        version=state.version,
        recorded_at=state.recorded_at,
        source=state.source,
        reason=reason,
        parked_at=parked.parked_at,
    )
