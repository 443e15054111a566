"""Subscriptions of query_executor: policy and one call each."""

from libs.common.consume import Consumers
from libs.common.erasure import Erasing
from libs.common.tenants import Tenants


def subscribe(consumers: Consumers, tenants: Tenants, erasing: Erasing) -> None:
    """Register what this service reads: tenants come, change and go; persons are forgotten."""
    tenants.subscribe(consumers)
    erasing.subscribe(consumers, tenants)
