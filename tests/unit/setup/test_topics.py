"""Topics as the broker should have them."""

from deploy.setup.topics import wanted
from libs.common.topics import ALL_TOPICS


def test_every_topic_has_its_dead_letter_twin() -> None:
    names = {topic.name for topic in wanted("p.", replication=1)}
    assert names == {f"p.{topic.name}" for topic in ALL_TOPICS} | {f"p.{topic.name}.dlq" for topic in ALL_TOPICS}


def test_compacted_topics_are_kept_for_ever() -> None:
    configs = {topic.name: topic.topic_configs for topic in wanted("", replication=3)}
    for topic in ALL_TOPICS:
        assert ("retention.ms" in configs[topic.name]) is not topic.compacted
