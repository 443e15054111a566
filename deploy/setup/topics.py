"""Topics and their dead-letter twins: created where missing, never changed or removed here."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from deploy.setup.settings import Settings
from libs.common.topics import ALL_TOPICS, Topic

_DEAD_LETTER_RETENTION_MS = 30 * 24 * 3600 * 1000


def _config(topic: Topic) -> dict[str, str]:
    if topic.compacted:
        return {"cleanup.policy": "compact"}
    assert topic.retention is not None
    return {"retention.ms": str(int(topic.retention.total_seconds() * 1000))}


def wanted(prefix: str, replication: int, max_partitions: int | None = None) -> list[NewTopic]:
    """All topics as the broker should have them; `max_partitions` keeps test brokers small."""
    topics = []
    for topic in ALL_TOPICS:
        partitions = min(topic.partitions, max_partitions or topic.partitions)
        topics.append(NewTopic(prefix + topic.name, partitions, replication, topic_configs=_config(topic)))
        dead = {"retention.ms": str(_DEAD_LETTER_RETENTION_MS)}
        topics.append(NewTopic(prefix + topic.dead_letter, 1, replication, topic_configs=dead))
    return topics


async def create_topics(kafka: str, topics: list[NewTopic]) -> None:
    """Create what is missing. Raises the broker's error for anything but an existing topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, client_id="tidemark-setup")
    await admin.start()
    try:
        answer = await admin.create_topics(topics)
    finally:
        await admin.close()
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message}")


async def topics(settings: Settings) -> None:
    """Create the topics of one installation."""
    await create_topics(settings.kafka, wanted(settings.topic_prefix, settings.replication_factor))
