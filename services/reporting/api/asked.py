"""The parameters that reports share: a window, a scope, and what is wanted beyond the documented answer."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AwareDatetime, Field

from libs.common.errors import Unprocessable
from services.reporting.domain import Tier
from services.reporting.service.analytics import DoraQuestion
from services.reporting.store.dora import Scope
from services.reporting.windows import DEFAULT_DAYS, MOST_DAYS, Interval, Window, window

Include: TypeAlias = Literal["percentiles", "previous", "bands", "rework", "commitToProduction"]
# What costs more than the four metrics do.
_DETAILS = {"percentiles", "bands", "commitToProduction"}
# The database stores no NUL character, and takes none to compare with.
_Owner = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")]


class AskedSpan:
    """`days`, or `from` and `to`."""

    def __init__(
        self,
        days: Annotated[
            int | None,
            Query(ge=1, le=MOST_DAYS, description=f"Days of 24 hours up to now; {DEFAULT_DAYS} unless told."),
        ] = None,
        since: Annotated[AwareDatetime | None, Query(alias="from", description="Included; instead of `days`.")] = None,
        until: Annotated[AwareDatetime | None, Query(alias="to", description="Included; now unless told.")] = None,
    ) -> None:
        self._days = days
        self._since = since
        self._until = until

    def window(self, now: datetime) -> Window:
        """422 where the parameters do not fit each other."""
        try:
            return window(now, self._days, self._since, self._until)
        except ValueError as error:
            raise Unprocessable(str(error)) from None

    @property
    def shown_days(self) -> int | None:
        """The days up to now, or None for an explicit window."""
        return None if self._since or self._until else self._days or DEFAULT_DAYS


def asked_scope(
    components: Annotated[list[UUID], Query(alias="componentId", default_factory=list, max_length=100)],
    environments: Annotated[list[UUID], Query(alias="environmentId", default_factory=list, max_length=100)],
    tiers: Annotated[list[Tier], Query(alias="environmentTier", default_factory=list)],
    owners: Annotated[list[_Owner], Query(alias="owner", default_factory=list, max_length=100)],
) -> Scope:
    """Each may be repeated; what is not named is not limited."""
    return Scope(tuple(components), tuple(environments), tuple(tiers), tuple(owners))


class Asked:
    """A window, which deployments in it, and what is wanted beside the four metrics."""

    def __init__(
        self,
        span: Annotated[AskedSpan, Depends()],
        scope: Annotated[Scope, Depends(asked_scope)],
        include: Annotated[list[Include], Query(default_factory=list, description="To show beside the four metrics.")],
        interval: Annotated[Interval | None, Query(description="Adds a series by UTC days, weeks or months.")] = None,
    ) -> None:
        self.span = span
        self.scope = scope
        self.include = frozenset[str](include)
        self.interval = interval

    def question(self, now: datetime) -> DoraQuestion:
        """422 where the parameters do not fit each other."""
        detail: Literal["plain", "full"] = "full" if _DETAILS & self.include else "plain"
        return DoraQuestion(self.span.window(now), self.scope, detail, self.interval, "previous" in self.include)
