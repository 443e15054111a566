"""The Kubernetes objects, checked without a cluster."""

import copy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from deploy.k8s import topics
from libs.common.settings import ServiceSettings
from libs.common.topics import ALL_TOPICS
from tests.house.deployed import Json, container_of, of_kind, pod_of

KUBERNETES_VERSION = "1.33"
CRD = Path(__file__).with_name("crds") / "kafkatopic.yaml"
PART_OF_TIDEMARK = {"matchLabels": {"app.kubernetes.io/part-of": "tidemark"}}
GATEWAY = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "gateway"}}}


def builtin(objects: tuple[Json, ...]) -> list[Json]:
    return [found for found in objects if found["kind"] != "KafkaTopic"]


def test_objects_meet_the_schema_of_kubernetes(base: tuple[Json, ...], dev: tuple[Json, ...]) -> None:
    for found in builtin(base + dev):
        kubernetes_validate.validate(found, KUBERNETES_VERSION, strict=True)


def test_the_schema_check_refuses_a_field_that_does_not_exist(base: tuple[Json, ...]) -> None:
    deployment = copy.deepcopy(of_kind(base, "Deployment")["gateway"])
    container_of(deployment)["redinessProbe"] = container_of(deployment).pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="redinessProbe"):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSION, strict=True)


def test_workloads_are_confined(base: tuple[Json, ...], dev: tuple[Json, ...]) -> None:
    kinds = ("Deployment", "StatefulSet", "Job")
    workloads = [found for found in base + dev if found["kind"] in kinds]
    assert len(workloads) == 9 + 11
    for workload in workloads:
        pod, container = pod_of(workload), container_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        if workload["kind"] != "StatefulSet":
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_services_are_probed_and_stop_in_time(base: tuple[Json, ...]) -> None:
    budget = ServiceSettings.model_fields["shutdown_seconds"].default
    for deployment in of_kind(base, "Deployment").values():
        container = container_of(deployment)
        (port,) = container["ports"]
        paths = {}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == port["name"]
            paths[probe] = container[probe]["httpGet"]["path"]
        assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod_of(deployment)["terminationGracePeriodSeconds"] > pause + budget


def test_each_service_has_its_own_account_secret_and_address(base: tuple[Json, ...]) -> None:
    deployments = of_kind(base, "Deployment")
    for kind in ("Service", "PodDisruptionBudget"):
        assert of_kind(base, kind).keys() == deployments.keys()
    for name, deployment in deployments.items():
        pod, labels = pod_of(deployment), deployment["spec"]["template"]["metadata"]["labels"]
        assert pod["serviceAccountName"] == name
        assert of_kind(base, "ServiceAccount")[name]["automountServiceAccountToken"] is False
        assert [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v] == [name]
        selector = of_kind(base, "Service")[name]["spec"]["selector"]
        assert selector == {"app.kubernetes.io/component": name}
        assert selector.items() <= labels.items()
        assert (
            of_kind(base, "Service")[name]["spec"]["ports"][0]["targetPort"]
            == container_of(deployment)["ports"][0]["name"]
        )


def test_http_comes_from_the_gateway_alone(base: tuple[Json, ...]) -> None:
    """A pod of the system accepts what a policy names: nobody, the gateway, or for the gateway anybody."""
    policies = {name: policy["spec"] for name, policy in of_kind(base, "NetworkPolicy").items()}
    assert policies["closed"] == {"podSelector": PART_OF_TIDEMARK, "policyTypes": ["Ingress"]}
    assert policies["http-from-gateway"]["podSelector"]["matchLabels"] == PART_OF_TIDEMARK["matchLabels"]
    assert [rule["from"] for rule in policies["http-from-gateway"]["ingress"]] == [[GATEWAY]]
    open_to_all = [spec for spec in policies.values() if any("from" not in rule for rule in spec.get("ingress", ()))]
    assert [spec["podSelector"] for spec in open_to_all] == [GATEWAY["podSelector"]]
    for name, deployment in of_kind(base, "Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels == {**PART_OF_TIDEMARK["matchLabels"], "app.kubernetes.io/component": name}


def test_topics_are_the_declared_ones(base: tuple[Json, ...]) -> None:
    assert topics.FILE.read_text() == topics.rendered(), "run `python -m deploy.k8s.topics`"
    found = of_kind(base, "KafkaTopic").values()
    names = {name for topic in ALL_TOPICS for name in (topic.name, topic.dead_letter)}
    assert {topic["spec"]["topicName"] for topic in found} == names
    assert {t["spec"]["topicName"]: t["spec"]["partitions"] for t in found}.items() >= {
        topic.name: topic.partitions for topic in ALL_TOPICS
    }.items()


def test_topics_meet_the_schema_of_strimzi(base: tuple[Json, ...]) -> None:
    (version,) = [v for v in yaml.safe_load(CRD.read_text())["spec"]["versions"] if v["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    validator = Draft202012Validator({**schema, "additionalProperties": False})
    found = of_kind(base, "KafkaTopic").values()
    for topic in found:
        assert topic["apiVersion"] == "kafka.strimzi.io/v1"
        assert list(validator.iter_errors(topic)) == []
        assert not set(topic["spec"]) - set(schema["properties"]["spec"]["properties"])
