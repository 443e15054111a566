"""One run of a mining job: read a batch, store it with the place behind it, send it, note that it was sent.

A run may be killed anywhere: what was stored and not noted as sent is sent again under the same numbers.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import structlog
from opentelemetry import trace
from pydantic import ValidationError

from libs.common.broker import Publisher
from libs.common.clock import Clock
from libs.common.connector_copy import Connector, find_connector
from libs.common.connectors import PostgresSettings
from libs.common.db import Database
from libs.common.events import BiQueryScraped
from libs.common.failures import describe
from libs.common.jobs import MAX_ATTEMPTS, JobRef, RetryLater
from libs.common.sealed import CannotOpen, KeyRing
from libs.common.telemetry import context_of, current_traceparent
from libs.common.topics import BI_QUERY_SCRAPED
from services.log_miner import store
from services.log_miner.domain import (
    MiningJob,
    Naming,
    State,
    bi_queries,
    closing_record,
    joined_warnings,
    read_since,
    record_key,
)
from services.log_miner.metrics import MiningMetrics
from services.log_miner.store import UnsentRecord
from services.log_miner.warehouses import Batch, OpenWarehouse, Warehouse, WarehouseError

_RETRY_DELAY = timedelta(seconds=5)
_tracer = trace.get_tracer("tidemark.log_miner")
_log = structlog.get_logger()


class Superseded(Exception):
    """Another run of the job has begun, or the job is over: this one must write nothing more."""
