"""The named stack is depended on and used, and what is shipped needs nothing of the workbench."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.tree import ROOT, modules, none, within

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED = {"faststream", "aiokafka", "fastapi", "asyncpg", "sqlglot", "pydantic-settings", "opentelemetry-sdk"}
WORKBENCH = {"testcontainers", "pytest-asyncio"}
OURS = {"libs", "services", "cli", "deploy", "tests", "bench"}
# What .dockerignore leaves out of the image.
PART_OF_ANOTHER = frozenset({"starlette", "yarl"})  # in the public signatures of fastapi and aiohttp
NOT_IN_THE_IMAGE = ("deploy.local", "deploy.k8s")


def distribution(requirement: str) -> str:
    """The name in `name[extra]>=1`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found[0].lower().replace("_", "-")


def dependencies() -> set[str]:
    return {distribution(requirement) for requirement in PROJECT["project"]["dependencies"]}


def imported(*roots: str) -> set[str]:
    return {name for module in modules(*roots) for _, name in module.imports()}


@pytest.mark.parametrize("package", sorted(SHIPPED))
def test_the_named_stack_runs_the_services(package: str) -> None:
    assert package in dependencies()
    module = package.replace("opentelemetry-sdk", "opentelemetry.sdk").replace("-", "_")
    assert any(within(name, module) for name in imported("libs", "services"))


@pytest.mark.parametrize("package", sorted(WORKBENCH))
def test_the_named_stack_runs_the_tests(package: str) -> None:
    assert package in {distribution(requirement) for requirement in PROJECT["dependency-groups"]["dev"]}
    used = any(within(name, package.replace("-", "_")) for name in imported("tests"))
    configured = package == "pytest-asyncio" and PROJECT["tool"]["pytest"]["ini_options"]["asyncio_mode"] == "auto"
    assert used or configured


def outside_the_image() -> Iterator[tuple[Path, int, str]]:
    known, allowed = packages_distributions(), dependencies()
    for module in modules("libs", "services", "cli", "deploy"):
        if any(within(".".join(module.path.with_suffix("").parts), left) for left in NOT_IN_THE_IMAGE):
            continue
        for line, name in module.imports():
            top = name.partition(".")[0]
            if top in OURS:
                absent = any(within(name, left) for left in NOT_IN_THE_IMAGE)
            elif top in sys.stdlib_module_names | PART_OF_ANOTHER:
                absent = False
            else:
                absent = not {distribution(package) for package in known.get(top, ())} & allowed
            if absent:
                yield module.path, line, name


def test_the_image_has_what_its_code_imports() -> None:
    none(outside_the_image())
