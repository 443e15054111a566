"""What the catalogue holds, counted."""

from collections.abc import Mapping
from uuid import UUID

from libs.common.db import Connection
from services.reporting.catalog import MOST_UNOWNED, Catalog, Coverage, Unowned
from services.reporting.scorecards import Component

_UNOWNED = "coalesce(owner, '') = ''"


async def catalog(connection: Connection, tenant: UUID) -> Catalog:
    """Of components that are there."""
    counts = await connection.fetch(
        f"""SELECT lifecycle, kind, count(*) AS components, count(*) FILTER (WHERE {_UNOWNED}) AS unowned
            FROM component WHERE tenant_id = $1 AND deleted_at IS NULL GROUP BY lifecycle, kind""",  # noqa: S608
        tenant,
    )
    unowned = await connection.fetch(
        f"""SELECT id, name, kind FROM component
            WHERE tenant_id = $1 AND deleted_at IS NULL AND {_UNOWNED} ORDER BY name COLLATE "C", id LIMIT $2""",  # noqa: S608
        tenant,
        MOST_UNOWNED,
    )
    total = sum(row["components"] for row in counts)
    return Catalog(
        Coverage(total, total - sum(row["unowned"] for row in counts)),
        _summed([(row["lifecycle"], row["components"]) for row in counts]),
        tuple(_by_frequency(_summed([(row["kind"], row["components"]) for row in counts]))),
        [Unowned(**dict(row)) for row in unowned],
    )


def _summed(counts: list[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, count in counts:
        sums[name] = sums.get(name, 0) + count
    return sums


def _by_frequency(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda found: (-found[1], found[0]))


async def components(connection: Connection, tenant: UUID) -> list[Component]:
    """All that are there, by name, then id."""
    rows = await connection.fetch(
        """SELECT id, name, kind, lifecycle, owner, description FROM component
           WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY name COLLATE "C", id""",
        tenant,
    )
    return [Component(**dict(row)) for row in rows]
