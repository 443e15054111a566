"""`python -m deploy.setup bootstrap|migrate|topics|all`."""

import asyncio
import sys
from collections.abc import Callable

from pydantic import ValidationError

from deploy.setup.bootstrap import bootstrap
from deploy.setup.migrate import MigrationFailed, migrate
from deploy.setup.settings import Settings
from deploy.setup.topics import topics

STEPS: dict[str, Callable[[Settings], None]] = {
    "bootstrap": lambda settings: asyncio.run(bootstrap(settings)),
    "migrate": migrate,
    "topics": lambda settings: asyncio.run(topics(settings)),
}


def main(arguments: list[str]) -> int:
    """Run one step or all of them in order; one line for each, exit code 1 at the first failure."""
    chosen = list(STEPS) if arguments == ["all"] else arguments
    if not chosen or any(step not in STEPS for step in chosen):
        print(f"usage: python -m deploy.setup {'|'.join(STEPS)}|all", file=sys.stderr)
        return 2
    try:
        settings = Settings()
    except ValidationError as error:
        fields = ", ".join(f"TIDEMARK_{str(problem['loc'][0]).upper()}" for problem in error.errors())
        print(f"setup: missing or malformed: {fields}", file=sys.stderr)
        return 1
    for step in chosen:
        try:
            STEPS[step](settings)
        except (OSError, ValueError, MigrationFailed) as error:
            print(f"setup: {step} failed: {error}", file=sys.stderr)
            return 1
        print(f"setup: {step} done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
