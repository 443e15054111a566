"""Backstage files through the gateway."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.reporting_app import Company, Reply, Stack, new_company, reporting_stack
from tests.support.platform import Platform

FILE = """\
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: user-service
  title: User service
  description: Knows the users
  annotations:
    github.com/project-slug: acme/user-service
    argocd/app-name: users
spec:
  type: service
  lifecycle: experimental
  owner: group:default/team-a
---
kind: API
metadata: {name: users-api}
spec: {type: openapi, lifecycle: production, owner: team-a}
---
---
kind: Component
metadata: {name: web, namespace: shop}
spec: {type: Website, lifecycle: GA, owner: "user:jane"}
---
kind: Component
metadata: {name: odd}
spec: {type: service, lifecycle: someday, owner: team-a}
---
just a text
"""


@pytest.fixture(scope="module")
async def stack(platform: Platform) -> AsyncIterator[Stack]:
    async with reporting_stack(platform) as running:
        yield running


@pytest.fixture
async def company(stack: Stack) -> Company:
    return await new_company(stack)


async def sent(company: Company, file: str | bytes, kind: str = "application/yaml") -> Reply:
    body = file.encode() if isinstance(file, str) else file
    return await company.call("POST", "components/import", body, headers={"Content-Type": kind})


async def component(company: Company, name: str) -> dict[str, Any]:
    (found,) = (await company.call("GET", f"components?name={name}")).ok()["items"]
    return dict(found)


async def test_components_of_a_file_are_taken_over(company: Company) -> None:
    report = (await sent(company, FILE)).ok()
    counts = {name: report[name] for name in ("created", "updated", "unchanged", "skipped", "refused")}
    assert counts == {"created": 2, "updated": 0, "unchanged": 0, "skipped": 1, "refused": 2}
    assert [(each["document"], each["outcome"]) for each in report["documents"]] == [
        (1, "created"), (2, "skipped"), (4, "created"), (5, "refused"), (6, "refused"),
    ]  # fmt: skip
    reasons = [each["reason"] for each in report["documents"]]
    assert "API" in reasons[1]
    assert "production, experimental, planned, deprecated, decommissioned" in reasons[3]
    users = await component(company, "user-service")
    assert (users["kind"], users["lifecycle"], users["owner"]) == ("service", "experimental", "team-a")
    assert users["metadata"]["title"] == "User service"
    assert {"component:default/user-service", "acme/user-service", "users"} <= set(users["refs"])
    web = await component(company, "web")
    assert (web["name"], web["kind"], web["lifecycle"], web["owner"]) == (
        "shop/web",
        "website",
        "production",
        "user:jane",
    )
    for ref in ("acme/user-service", "USERS", "default/user-service"):
        body = {"componentRef": ref, "environmentRef": "live", "status": "SUCCEEDED"}
        assert (await company.call("POST", "deployments", body)).ok()["componentId"] == users["id"]


async def test_the_same_file_again_changes_nothing(company: Company) -> None:
    await sent(company, FILE)
    before = (await company.call("GET", "components")).ok()
    report = (await sent(company, FILE)).ok()
    assert (report["created"], report["updated"], report["unchanged"]) == (0, 0, 2)
    assert (await company.call("GET", "components")).ok() == before
    changed = (await sent(company, FILE.replace("experimental", "production").replace("team-a", "team-b"))).ok()
    assert (changed["created"], changed["updated"], changed["unchanged"]) == (0, 1, 1)
    users = await component(company, "user-service")
    assert (users["version"], users["lifecycle"], users["owner"]) == (2, "production", "team-b")


async def test_a_component_that_was_made_by_hand_is_the_same(company: Company) -> None:
    patch = {"refs": ["till"], "metadata": {"cost": 7}}
    (await company.call("PATCH", f"components/{company.component}", patch)).ok()
    text = "kind: Component\nmetadata: {name: Shop}\nspec: {type: service, lifecycle: planned, owner: team-z}\n"
    (document,) = (await sent(company, text)).ok()["documents"]
    assert (document["outcome"], document["componentId"]) == ("updated", company.component)
    found = await component(company, "shop")
    assert (found["owner"], found["metadata"]["cost"], found["refs"][0]) == ("team-z", 7, "till")


async def test_a_name_that_is_taken_is_told(company: Company) -> None:
    (await company.call("POST", "components", {"name": "other", "refs": ["acme/user-service"]})).ok()
    first = (await sent(company, FILE)).ok()["documents"][0]
    assert first["outcome"] == "created"
    assert "acme/user-service" in first["reason"]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("a: [1", "line 2"),
        (b"\xff\xfe", "UTF-8"),
        ("a: &x 1\nb: *x\n", "anchors"),
        ("a: &x [1]\n", "anchors"),
        ("[" * 40 + "]" * 40, "nested"),
        ("---\na: 1\n" * 501, "500"),
        ("!!python/object/apply:os.system ['true']", "tag"),
        ("a: 2024-13-45", "can be read"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused(company: Company, file: str | bytes, says: str) -> None:
    refused = await sent(company, file)
    assert refused.status == 422
    assert says in refused.body["detail"]
    assert len((await company.call("GET", "components")).ok()["items"]) == 1


async def test_laughing_billions_cost_nothing(company: Company) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    assert (await sent(company, "\n".join(lines))).status == 422


async def test_a_large_file_is_refused(company: Company) -> None:
    assert (await sent(company, "# " + "x" * 600_000)).status == 413
    assert (await sent(company, "")).ok()["documents"] == []
