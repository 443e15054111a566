"""Runs in DataHub's own venv: rows as JSON lines on stdin, rows per CPU second of its aggregator as JSON on stdout."""

import json
import logging
import sys
import time

from datahub.configuration.datetimes import parse_absolute_time  # type: ignore[import-not-found]
from datahub.ingestion.source.usage.usage_common import BaseUsageConfig  # type: ignore[import-not-found]
from datahub.metadata.urns import CorpUserUrn  # type: ignore[import-not-found]
from datahub.sql_parsing.sql_parsing_aggregator import ObservedQuery, SqlParsingAggregator  # type: ignore[import-not-found]


def aggregator(platform: str) -> SqlParsingAggregator:
    """As DataHub's query-log sources set it up: lineage, queries and usage."""
    return SqlParsingAggregator(
        platform=platform,
        generate_lineage=True,
        generate_queries=True,
        generate_usage_statistics=True,
        generate_query_usage_statistics=True,
        usage_config=BaseUsageConfig(),
    )


def main() -> None:
    """Observe every row, then say how fast that was; what is written at the end of a run is not counted."""
    logging.disable(logging.CRITICAL)
    rows = [json.loads(line) for line in sys.stdin]
    by_platform = {row["dialect"]: aggregator(row["dialect"]) for row in rows}
    at, user = parse_absolute_time("2026-01-01T00:00:00Z"), CorpUserUrn("ada")
    observed = [
        (
            by_platform[row["dialect"]],
            ObservedQuery(query=row["sql"], timestamp=at, user=user, default_db="shop", default_schema="public"),
        )
        for row in rows
    ]
    warm_up, measured = observed[:50], observed[50:]
    for each, query in warm_up:
        each.add_observed_query(query)
    started = time.process_time()
    for each, query in measured:
        each.add_observed_query(query)
    seconds = time.process_time() - started
    failed = sum(each.report.num_observed_queries_failed for each in by_platform.values())
    print(json.dumps({"rate": len(measured) / seconds, "rows": len(measured), "failed": failed}))


if __name__ == "__main__":
    main()
