"""Topics are named in one file."""

import re
from collections.abc import Iterator
from pathlib import Path

from libs.common.services import SERVICES
from libs.common.topics import ALL_TOPICS
from tests.house.tree import CODE, modules, none

NAMES = re.compile(r"(?<![\w.])(" + "|".join(re.escape(topic.name) for topic in ALL_TOPICS) + r")(\.dlq)?(?![\w.])")
DECLARED = Path("libs/common/topics.py")


def test_nothing_else_names_a_topic() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for module in modules(*CODE):
            if module.path != DECLARED:
                yield from ((module.path, line, text) for line, text in module.strings() if NAMES.search(text))

    none(found())


def test_producers_are_services() -> None:
    assert {producer for topic in ALL_TOPICS for producer in topic.producers} <= set(SERVICES)


def test_names_are_unique() -> None:
    names = [name for topic in ALL_TOPICS for name in (topic.name, topic.dead_letter)]
    assert len(names) == len(set(names))
