"""Manifests, rendered once a run."""

import pytest

from tests.house import deployed
from tests.house.deployed import Json


@pytest.fixture(scope="session")
def base() -> tuple[Json, ...]:
    """The objects of deploy/k8s/base."""
    return deployed.base()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, ...]:
    """The objects of the overlay for test clusters."""
    return deployed.dev_overlay(tmp_path_factory.mktemp("overlay"))
