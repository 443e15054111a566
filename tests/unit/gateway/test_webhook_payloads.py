"""What vendors' payloads tell, read by the vendors' own samples."""

from datetime import UTC, datetime, timedelta

import pytest

from services.gateway.ingress import argocd, devlake, github, gitlab
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.reported import Ignored, Malformed, Place, Reading, Reported
from tests.support.webhooks import payload

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
NOW = NOON + timedelta(hours=1)
PLAIN = SourceMapping()


def at(minutes: float = 0, seconds: float = 0) -> datetime:
    return NOON + timedelta(minutes=minutes, seconds=seconds)


def only(reading: Reading) -> Reported:
    assert isinstance(reading, list), reading
    (one,) = reading
    return one


def reason(reading: Reading) -> str:
    assert isinstance(reading, Ignored), reading
    return reading.reason


# --- GitHub


def _github(event: str = "deployment_status", /, **changes: object) -> Reading:
    return github.deployments(event, payload("github_deployment_status", **changes))


def test_github_tells_a_deployment() -> None:
    assert only(_github()) == Reported(
        external_id="186853002/145988746",
        component=Place("acme/checkout", ("acme/checkout", "checkout")),
        environment=Place("production", ("production",)),
        status="SUCCEEDED",
        recorded_at=at(4, 55),
        started_at=at(0, 53),
        finished_at=at(4, 55),
        version="v2.4.1",
        commit_sha="f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
        deployed_by="mona",
        sequence=209916254,
        metadata={
            "repository": "acme/checkout",
            "task": "deploy",
            "productionEnvironment": True,
            "transientEnvironment": False,
            "url": "https://github.com/acme/checkout/actions/runs/6892676200/job/18750",
        },
    )


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("success", "SUCCEEDED"),
        ("failure", "FAILED"),
        ("error", "FAILED"),
        ("in_progress", "IN_PROGRESS"),
        ("queued", "PENDING"),
        ("pending", "PENDING"),
        ("waiting", "PENDING"),
        ("SUCCESS", "SUCCEEDED"),
    ],
)
def test_states_of_github(state: str, status: str) -> None:
    told = only(_github(deployment_status__state=state))
    assert told.status == status
    assert (told.finished_at is not None) == (status in ("SUCCEEDED", "FAILED"))
    assert told.started_at == at(0, 53)


@pytest.mark.parametrize(
    ("event", "state", "why"),
    [
        ("deployment_status", "inactive", "superseded"),
        ("deployment_status", "paused", "not known"),
        ("push", "success", "push"),
        ("deployment_review", "success", "deployment_review"),
        ("", "success", "tells nothing"),
    ],
)
def test_what_github_says_that_is_ignored(event: str, state: str, why: str) -> None:
    assert why in reason(_github(event, deployment_status__state=state))


def test_github_pings() -> None:
    assert "ping" in reason(github.deployments("ping", payload("github_ping")))


def test_a_deployment_of_github_begins_as_pending() -> None:
    content = payload("github_deployment_status")
    del content["deployment_status"], content["workflow_run"]
    told = only(github.deployments("deployment", content))
    assert (told.status, told.recorded_at, told.finished_at) == ("PENDING", at(0, 53), None)
    assert (told.external_id, told.sequence) == ("186853002/145988746", 0)
    assert told.deployed_by == "github-actions[bot]"


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("main", "main"),
        ("refs/tags/v1", "v1"),
        ("refs/heads/main", "main"),
        ("f95f852bd8fca8fcc58a9a2d6c842781e32a215e", None),
        (None, None),
    ],
)
def test_the_version_of_github(ref: str | None, version: str | None) -> None:
    assert only(_github(deployment__ref=ref)).version == version


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"deployment__id": None}, "deployment.id"),
        ({"deployment__id": True}, "deployment.id"),
        ({"deployment": []}, "deployment"),
        ({"repository": None}, "repository"),
        ({"repository__full_name": "a" * 501}, "repository.full_name"),
        ({"repository__full_name": "a\x00b"}, "repository.full_name"),
        ({"deployment_status__updated_at": "yesterday"}, "deployment_status.updated_at"),
        ({"deployment_status__updated_at": None, "deployment_status__created_at": None}, "created_at"),
        ({"deployment_status__state": 7.5}, "deployment_status.state"),
    ],
)
def test_what_github_never_sends_is_malformed(changes: dict[str, object], field: str) -> None:
    with pytest.raises(Malformed, match=field):
        _github(**changes)


# --- GitLab


def _gitlab(**changes: object) -> Reading:
    return gitlab.deployments(payload("gitlab_deployment", **changes))


def test_gitlab_tells_a_deployment() -> None:
    assert only(_gitlab()) == Reported(
        external_id="30/15",
        component=Place("shop/checkout", ("shop/checkout", "checkout")),
        environment=Place("production", ("production",)),
        status="SUCCEEDED",
        recorded_at=at(-10),
        finished_at=at(-10),
        version="main",
        commit_sha="279484c09fbe69ededfced8c1bb6e6d24616b468",
        deployed_by="dana",
        metadata={
            "project": "shop/checkout",
            "environmentTier": "production",
            "url": "https://gitlab.example.com/shop/checkout/-/jobs/796",
        },
    )


@pytest.mark.parametrize(
    ("status", "ours", "started", "finished"),
    [
        ("created", "PENDING", None, None),
        ("running", "IN_PROGRESS", at(-10), None),
        ("success", "SUCCEEDED", None, at(-10)),
        ("failed", "FAILED", None, at(-10)),
    ],
)
def test_statuses_of_gitlab(status: str, ours: str, started: datetime | None, finished: datetime | None) -> None:
    told = only(_gitlab(status=status))
    assert (told.status, told.started_at, told.finished_at) == (ours, started, finished)


@pytest.mark.parametrize("status", ["canceled", "blocked", "approved", "rejected", "skipped", "dreaming"])
def test_what_gitlab_says_that_is_ignored(status: str) -> None:
    assert status in reason(_gitlab(status=status))


def test_other_events_of_gitlab_are_ignored() -> None:
    assert "push" in reason(gitlab.deployments({"object_kind": "push"}))
    assert "without a kind" in reason(gitlab.deployments({}))


def test_without_an_address_gitlab_tells_the_short_commit() -> None:
    assert only(_gitlab(commit_url=None)).commit_sha == "279484c0"


# --- Argo CD


def _argocd(**changes: object) -> Reading:
    return argocd.deployments(payload("argocd_application", **changes), NOW)


STATE = "app__status__operationState__"
HEALTH = "app__status__health"


def _health(status: str, changed: str | None = None) -> dict[str, object]:
    return {HEALTH: {"status": status, "lastTransitionTime": changed}}


def test_argocd_tells_a_deployment() -> None:
    assert only(_argocd()) == Reported(
        external_id="argocd/checkout/2026-03-18T12:00:00+00:00",
        component=Place("checkout", ("shop/checkout", "checkout")),
        environment=Place("production", ("prod-eu/production", "production", "prod-eu")),
        status="SUCCEEDED",
        recorded_at=at(3),
        started_at=at(),
        finished_at=at(3),
        version="main",
        commit_sha="1f2e3d4c5b6a79880917263544536271809f0e1d",
        deployed_by="dana",
        metadata={"application": "checkout", "project": "shop", "health": "Healthy"},
    )


@pytest.mark.parametrize(
    ("phase", "health", "status", "recorded"),
    [
        ("Running", _health("Progressing"), "IN_PROGRESS", at(1.5)),
        ("Failed", _health("Healthy"), "FAILED", at(1.5)),
        ("Error", _health("Missing"), "FAILED", at(1.5)),
        ("Succeeded", _health("Progressing", "2026-03-18T12:01:00Z"), "IN_PROGRESS", at(1.5)),
        # Healthy all along; healthy in the end; healthy as the notification says, which an older Argo CD is asked for.
        ("Succeeded", _health("Healthy", "2026-03-01T00:00:00Z"), "SUCCEEDED", at(1.5)),
        ("Succeeded", _health("Healthy", "2026-03-18T12:02:30Z"), "SUCCEEDED", at(2.5)),
        ("Succeeded", _health("Healthy"), "SUCCEEDED", at(3, 5)),
        # Degraded by it; degraded before and still so.
        ("Succeeded", _health("Degraded", "2026-03-18T12:02:00Z"), "FAILED", at(2)),
        ("Succeeded", _health("Degraded", "2026-03-18T11:00:00Z"), "FAILED", at(3, 5)),
        ("Succeeded", _health("Degraded"), "FAILED", at(3, 5)),
    ],
)
def test_phases_and_health_of_argocd(phase: str, health: dict[str, object], status: str, recorded: datetime) -> None:
    told = only(_argocd(**{f"{STATE}phase": phase}, **health))
    assert (told.status, told.recorded_at) == (status, recorded)
    assert told.finished_at == (recorded if status in ("SUCCEEDED", "FAILED") else None)


def test_a_sync_that_runs_has_begun() -> None:
    told = only(_argocd(**{f"{STATE}phase": "Running", f"{STATE}finishedAt": None}))
    assert (told.status, told.recorded_at, told.started_at) == ("IN_PROGRESS", at(), at())


def test_what_breaks_later_is_no_failed_deployment() -> None:
    assert "incident" in reason(_argocd(**_health("Degraded", "2026-03-18T13:02:00Z")))
    assert "incident" in reason(_argocd(notifiedAt="2026-03-19T13:02:00Z", **_health("Degraded")))


def test_a_self_heal_is_no_deployment() -> None:
    assert "self-heal" in reason(_argocd(**{f"{STATE}operation__sync": {"autoHealAttemptsCount": 2}}))


def test_states_of_one_sync_are_one_deployment_and_the_next_sync_is_another() -> None:
    running, done, rollback = (
        only(_argocd(**changes)).external_id
        for changes in ({f"{STATE}phase": "Running"}, {}, {f"{STATE}startedAt": "2026-03-18T12:01:00Z"})
    )
    assert running == done != rollback


def test_argocd_terminating_decides_nothing() -> None:
    assert "terminating" in reason(_argocd(**{f"{STATE}phase": "Terminating"}))


def test_several_sources_have_several_revisions() -> None:
    changes = {f"{STATE}syncResult": None, "app__status__sync": {"revision": "", "revisions": ["one", "two"]}}
    assert only(_argocd(**changes)).commit_sha == "one"


# --- DevLake


def _devlake(**changes: object) -> Reading:
    return devlake.deployments(payload("devlake_deployment", **changes), NOW)


def test_devlake_tells_a_deployment_of_each_repository() -> None:
    reading = _devlake()
    assert isinstance(reading, list)
    checkout, payments = reading
    assert checkout == Reported(
        external_id="release-2026-03-18/acme/checkout",
        component=Place("acme/checkout", ("github.com/acme/checkout", "acme/checkout", "checkout")),
        environment=Place("PRODUCTION", ("PRODUCTION",)),
        status="SUCCEEDED",
        recorded_at=at(10),
        started_at=at(),
        finished_at=at(10),
        version="release-v0.17",
        commit_sha="c1" * 20,
        metadata={"id": "release-2026-03-18", "title": "March release"},
    )
    assert (payments.external_id, payments.commit_sha) == ("release-2026-03-18/acme/payments", "d4" * 20)


def test_many_commits_of_one_repository_are_one_deployment_and_the_last_counts() -> None:
    commits = [{"repoUrl": "https://github.com/acme/checkout.git", "commitSha": each} for each in ("one", "two")]
    assert only(_devlake(deploymentCommits=commits)).commit_sha == "two"


@pytest.mark.parametrize(
    ("result", "status"), [("SUCCESS", "SUCCEEDED"), ("FAILURE", "FAILED"), ("failure", "FAILED"), ("", "SUCCEEDED")]
)
def test_results_of_devlake(result: str, status: str) -> None:
    reading = _devlake(result=result)
    assert isinstance(reading, list)
    assert {each.status for each in reading} == {status}


def test_a_result_that_decides_nothing_is_ignored() -> None:
    assert "abort" in reason(_devlake(result="ABORT"))


@pytest.mark.parametrize(
    ("address", "ref"),
    [
        ("https://github.com/acme/checkout", "acme/checkout"),
        ("https://github.com/acme/checkout.git/", "acme/checkout"),
        ("https://oauth2:canary-token@gitlab.example.com:8443/shop/a/checkout.git", "shop/a/checkout"),
        ("ssh://git@gitlab.example.com:2222/shop/checkout.git", "shop/checkout"),
        ("git@github.com:acme/checkout.git", "acme/checkout"),
        ("github.com/acme/checkout", "acme/checkout"),
        ("checkout", "checkout"),
        ("canary-token@checkout", "checkout"),
    ],
)
def test_the_repository_of_an_address_and_never_its_secret(address: str, ref: str) -> None:
    told = only(_devlake(deploymentCommits=[{"repoUrl": address, "commitSha": "c1"}]))
    assert told.component.ref == ref
    assert "canary" not in repr(told)


@pytest.mark.parametrize(
    "commits",
    [None, [], {}, ["c1"], [{"repoUrl": "x"}], [{"commitSha": "x"}], [{"repoUrl": "x", "commitSha": "y"}] * 1001],
)
def test_devlake_without_commits_is_malformed(commits: object) -> None:
    with pytest.raises(Malformed, match="deploymentCommits"):
        _devlake(deploymentCommits=commits)
