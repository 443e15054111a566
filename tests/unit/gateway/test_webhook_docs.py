"""What docs/webhooks.md tells users to paste is what the code reads."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.gateway.ingress import argocd, devlake, generic
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.reported import Reported, value_at
from services.gateway.ingress.signatures import Headers, claim_of, verify
from tests.support.webhooks import payload

DOCUMENT = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
NOW = datetime(2026, 3, 18, 13, tzinfo=UTC)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def rendered(template: str, application: dict[str, Any]) -> dict[str, Any]:
    """What Go's templates make of it, as far as this one goes."""

    def json_at(path: str) -> str:
        return json.dumps(value_at(application, path))

    template = re.sub(r"\{\{now [^}]*\}\}", '"2026-03-18T12:03:05Z"', template)
    template = re.sub(
        r"\{\{with \.([\w.]+)\}\}\{\{toJson \.(\w+)\}\}\{\{else\}\}null\{\{end\}\}",
        lambda found: json_at(f"{found[1]}.{found[2]}"),
        template,
    )
    template = re.sub(r"\{\{toJson \.([\w.]+)\}\}", lambda found: json_at(found[1]), template)
    assert "{{" not in template
    made: dict[str, Any] = json.loads(template)
    return made


def config_map() -> dict[str, str]:
    (block,) = blocks("yaml")
    data: dict[str, str] = yaml.safe_load(block)["data"]
    return data


def test_argocds_template_makes_a_payload_that_is_read() -> None:
    template = yaml.safe_load(config_map()["template.tidemark"])["webhook"]["tidemark"]["body"]
    sample = payload("argocd_application")
    whole = {"app": sample["app"] | {"operation": None}}
    made = rendered(template, whole)
    assert argocd.deployments(made, NOW) == argocd.deployments(sample, NOW)
    del whole["app"]["spec"]["source"], whole["app"]["status"]["operationState"]["syncResult"]
    (told,) = argocd.deployments(rendered(template, whole), NOW)  # type: ignore[misc]
    assert isinstance(told, Reported)
    assert (told.version, told.commit_sha) == (None, sample["app"]["status"]["sync"]["revision"])


def test_argocds_triggers_send_the_template_once_a_sync() -> None:
    data = config_map()
    triggers = yaml.safe_load(data["trigger.tidemark"])
    assert {each["oncePer"] for each in triggers} == {"app.status.operationState.startedAt"}
    assert all(each["send"] == ["tidemark"] for each in triggers)
    (token,) = [each for each in yaml.safe_load(data["service.webhook.tidemark"])["headers"] if "Token" in each["name"]]
    assert token == {"name": "X-Tidemark-Token", "value": "$tidemark-secret"}


def test_the_mappings_are_mappings() -> None:
    names, fields = (SourceMapping.model_validate_json(block) for block in blocks("json"))
    assert names.components["acme/sandbox"] is None
    assert set(fields.fields.model_fields_set) == set(type(fields.fields).model_fields)


def test_the_example_of_devlake_is_read() -> None:
    body = re.search(r"-d '(\{.*?\})'", blocks("sh")[0], re.DOTALL)
    assert body is not None
    (told,) = devlake.deployments(json.loads(body[1]), NOW)  # type: ignore[misc]
    assert isinstance(told, Reported)
    assert told.component.ref == "acme/checkout"


def test_the_example_of_a_signature_is_taken() -> None:
    script = blocks("sh")[1].replace("curl https://tidemark.example.com/webhooks/<id>", "printf '%s\\n'")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    done = subprocess.run(["sh", "-c", f"SECRET=a-secret-of-the-source\n{script}"], capture_output=True, check=True)
    _, header, _, body = done.stdout.decode().splitlines()
    name, _, value = header.partition(": ")
    headers = Headers([(name.lower().encode(), value.encode())])
    verify(claim_of("generic", headers, datetime.now(UTC).timestamp()), body.encode(), ("a-secret-of-the-source",))
    (told,) = generic.deployments(json.loads(body), SourceMapping(), NOW)  # type: ignore[misc]
    assert isinstance(told, Reported)
    assert told.status == "SUCCEEDED"
