"""A month of deployments of a small shop, the same at each run but for the day that it ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha1
from typing import Final, Literal

Way = Literal["cloudevents", "github", "gitlab", "kafka"]

DAYS: Final = 30
PRODUCTION: Final = "production"
STAGING: Final = "staging"
ENVIRONMENTS: Final = ((PRODUCTION, "production"), (STAGING, "staging"))
WAYS: Final[tuple[Way, ...]] = ("cloudevents", "github", "gitlab", "kafka")
# Of each the time from start to end of a deployment, in minutes.
MINUTES: Final = {"shop-api": 12, "shop-web": 6, "billing": 25, "search": 18}
_PER_DAY: Final = 3
# Which deployment of the month did not go well, and what became of it. The next of its component repairs it.
_BROKEN: Final = {17: "FAILED", 38: "FAILED", 56: "ROLLED_BACK", 71: "FAILED"}
CATALOGUE: Final = """\
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: shop-api, description: Orders and carts}
spec: {type: service, lifecycle: production, owner: team-checkout}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: shop-web, description: The shop's pages}
spec: {type: website, lifecycle: production, owner: team-web}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: billing}
spec: {type: service, lifecycle: production, owner: team-money}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: search}
spec: {type: service, lifecycle: experimental, owner: team-web}
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One deployment, from its start to its end."""

    number: int
    way: Way
    component: str
    environment: str
    status: str
    started_at: datetime
    finished_at: datetime
    commit_at: datetime
    deployed_by: str

    @property
    def commit(self) -> str:
        return sha1(f"{self.component}-{self.number}".encode(), usedforsecurity=False).hexdigest()

    @property
    def version(self) -> str:
        return f"1.{self.number}.0"


def deliveries(now: datetime) -> Iterator[Delivery]:
    """Oldest first, all of them within the month before `now`; every tenth goes to staging."""
    begin = now - timedelta(days=DAYS) + timedelta(hours=1)
    components = tuple(MINUTES)
    for number in range(DAYS * _PER_DAY):
        component = components[number % len(components)]
        started = begin + number * timedelta(days=1) / _PER_DAY
        yield Delivery(
            number=number,
            way=WAYS[(number // len(components)) % len(WAYS)],
            component=component,
            environment=STAGING if number % 10 == 9 else PRODUCTION,
            status=_BROKEN.get(number, "SUCCEEDED"),
            started_at=started,
            finished_at=started + timedelta(minutes=MINUTES[component]),
            commit_at=started - timedelta(hours=2 + number % 20),
            deployed_by=("ada", "grace", "alan")[number % 3],
        )
