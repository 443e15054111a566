"""A broker that may come later: the gateway serves without one."""

import asyncio

import structlog
from aiokafka.client import AIOKafkaClient
from faststream.kafka import KafkaBroker

from libs.common.broker import build_broker
from libs.common.failures import RetryPolicy, describe
from services.gateway.settings import Settings

NAME = "gateway"
_log = structlog.get_logger()


async def connected_broker(settings: Settings) -> KafkaBroker:
    """A started broker; tries until there is one."""
    for pause in RetryPolicy(first=0.5).pauses():
        broker = build_broker(settings, NAME)
        try:
            await _answers(settings)
            await broker.start()
            return broker
        except Exception as error:
            _log.warning("the broker cannot be reached; trying on", error=describe(error))
            await broker.stop()
        await asyncio.sleep(pause)
    raise AssertionError("pauses are endless")


async def _answers(settings: Settings) -> None:
    """Raises where there is no broker. FastStream leaves a producer that could not connect unclosed."""
    client = AIOKafkaClient(bootstrap_servers=settings.kafka.split(","))
    try:
        await client.bootstrap()
    finally:
        await client.close()
