"""The route of scorecards."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter

from libs.common.http import Caller, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from services.reporting.api.analytics_schemas import Answer
from services.reporting.figures import Number
from services.reporting.scorecards import Scheme, Scorecard
from services.reporting.service.analytics import Analytics


class LevelOut(Answer):
    """`components`: how many have this level and none above it."""

    name: str
    rules: list[str]
    components: int


class RuleOut(Answer):
    id: str
    level: str
    passed: bool
    actual: Number | str | None


class ScorecardOut(Answer):
    component_id: UUID
    component_name: str
    kind: str
    lifecycle: str
    owner: str | None
    level: str | None
    rules: list[RuleOut]


class ScorecardsOut(Answer):
    """`below`: components that miss a rule of the first level."""

    period_days: int
    levels: list[LevelOut]
    below: int
    items: list[ScorecardOut]
    next_cursor: str | None


def scorecards(service: Analytics) -> APIRouter:
    """`/scorecards`: components by name, each with its level and the rules that it meets or misses."""
    router = APIRouter()

    @router.get("/scorecards", responses=problems(422))
    async def list_scorecards(caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> ScorecardsOut:
        after = decode_cursor(cursor, str, UUID)
        found = await service.scorecards(caller.require_tenant(), service.now())
        behind = [each for each in found if after is None or [each.component.name, each.component.id] > after]
        page, last = cut(behind, limit)
        following = encode_cursor(last.component.name, last.component.id) if last else None
        return _out(service.scheme, found, page, following)

    return router


def _out(scheme: Scheme, found: Sequence[Scorecard], page: Sequence[Scorecard], following: str | None) -> ScorecardsOut:
    reached = Counter(each.level for each in found)
    levels = [
        LevelOut(name=level.name, rules=[rule.id for rule in level.rules], components=reached[level.name])
        for level in scheme.levels
    ]
    return ScorecardsOut(
        period_days=scheme.days,
        levels=levels,
        below=reached[None],
        items=[_card(each) for each in page],
        next_cursor=following,
    )


def _card(found: Scorecard) -> ScorecardOut:
    component = found.component
    return ScorecardOut(
        component_id=component.id,
        component_name=component.name,
        kind=component.kind,
        lifecycle=component.lifecycle,
        owner=component.owner,
        level=found.level,
        rules=[
            RuleOut(id=each.rule, level=each.level, passed=each.outcome.passed, actual=each.outcome.actual)
            for each in found.checked
        ],
    )
