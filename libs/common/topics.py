"""Every Kafka topic, declared once. Nothing else in the tree names a topic."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

Way = Literal["kafka", "events", "webhooks"]

_DEAD_LETTER_SUFFIX = ".dlq"


@dataclass(frozen=True, slots=True)
class Outside:
    """Who beside our services may publish: by which ways, and by `POST /events` with one of which roles.

    `kafka`: trusted systems that hold credentials of the broker with an ACL on this topic. `events`: `POST /events`
    with a token of a tenant. `webhooks`: `POST /webhooks/{source}`, by the source's signature or secret.
    """

    ways: tuple[Way, ...] = ()
    roles: tuple[str, ...] = ()

    def admits(self, way: Way, roles: frozenset[str] = frozenset()) -> bool:
        """Whether somebody with these roles may publish by this way."""
        return way in self.ways and (way != "events" or not roles.isdisjoint(self.roles))


NOBODY: Final = Outside()
_TRUSTED: Final = Outside(("kafka",))
_PUBLISHERS: Final = Outside(("kafka", "events", "webhooks"), ("publisher", "staff", "superuser"))
_HOLDERS: Final = Outside(("kafka", "events"), ("publisher", "staff", "superuser"))


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its logical name, what its key is made of, and how the broker keeps it."""

    name: str
    key: str
    carries: str
    producers: tuple[str, ...]
    partitions: int = 6
    retention: timedelta | None = timedelta(days=7)
    compacted: bool = False
    outside: Outside = field(default=NOBODY)

    @property
    def dead_letter(self) -> str:
        """Name of the topic's dead-letter twin."""
        return self.name + _DEAD_LETTER_SUFFIX


BI_QUERY_SCRAPED = Topic(
    "bi_query.scraped",
    key="tenant:connector",
    carries="one BiQuery record, or the closing record of a collecting job",
    producers=("scraper", "log_miner", "query_executor"),
    outside=_TRUSTED,
)
BI_QUERY_STORED = Topic(
    "bi_query.stored", key="job id", carries="the outcome of a collecting job", producers=("aggregator",)
)
USAGE_RECOMPUTE = Topic(
    "usage.recompute",
    key="tenant:space or tenant:connector",
    carries="a wish for fresh usage statistics",
    producers=("scraper", "log_miner"),
    outside=_TRUSTED,
)
DEPLOYMENT_RECORDED = Topic(
    "deployment.recorded",
    key="component:environment",
    carries="one state of one deployment",
    producers=("gateway",),
    retention=timedelta(days=30),
    outside=_PUBLISHERS,
)
AUDIT_RECORDED = Topic(
    "audit.recorded",
    key="resource id",
    carries="who did what to which resource",
    producers=("gateway", "aggregator", "query_executor", "reporting", "product_analytics", "exporter"),
    retention=timedelta(days=30),
    outside=_HOLDERS,
)
TRACKED_EVENT_COLLECTED = Topic(
    "tracked_event.collected", key="project:device", carries="one product-analytics event", producers=("gateway",)
)
TENANT_CHANGED = Topic(
    "tenant.changed",
    key="id",
    carries="a tenant as it now is, or its deletion",
    producers=("gateway",),
    partitions=1,
    retention=None,
    compacted=True,
)
CONNECTOR_CHANGED = Topic(
    "connector.changed",
    key="id",
    carries="a connector as it now is (settings sealed), or its deletion",
    producers=("gateway",),
    partitions=1,
    retention=None,
    compacted=True,
)
USER_ERASED = Topic(
    "user.erased",
    key="tenant",
    carries="a person to erase or pseudonymise",
    producers=("gateway",),
    partitions=1,
    retention=timedelta(days=30),
)

ALL_TOPICS: tuple[Topic, ...] = (
    BI_QUERY_SCRAPED,
    BI_QUERY_STORED,
    USAGE_RECOMPUTE,
    DEPLOYMENT_RECORDED,
    AUDIT_RECORDED,
    TRACKED_EVENT_COLLECTED,
    TENANT_CHANGED,
    CONNECTOR_CHANGED,
    USER_ERASED,
)
