import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local.artifacts import Pinned, Platform, fetch, platform_of, read_lock
from deploy.local.errors import ArtifactMissing, PlatformUnsupported


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("Linux", "x86_64", Platform.LINUX_AMD64),
        ("Linux", "aarch64", Platform.LINUX_ARM64),
        ("Darwin", "arm64", Platform.DARWIN_ARM64),
    ],
)
def test_platform_follows_the_machine(system: str, machine: str, platform: Platform) -> None:
    assert platform_of(system, machine) is platform


def test_other_machines_are_named_together_with_the_supported_ones() -> None:
    with pytest.raises(PlatformUnsupported, match=r"SunOS sparc.*linux-amd64, linux-arm64v8, darwin-arm64v8"):
        platform_of("SunOS", "sparc")


@pytest.mark.parametrize("platform", list(Platform))
def test_every_platform_is_pinned(platform: Platform) -> None:
    pinned = read_lock(f"postgres-{platform.value}")
    assert pinned.version == "18.0.0"
    assert [coordinate.split(":")[1] for coordinate in pinned.sha256] == [
        f"embedded-postgres-binaries-{platform.value}"
    ]


def test_all_jars_of_kafka_have_its_own_version() -> None:
    pinned = read_lock("kafka")
    versions = {c.split(":")[2] for c in pinned.sha256 if c.startswith("org.apache.kafka:")}
    assert versions == {pinned.version}


def test_a_changed_checksum_changes_the_directory() -> None:
    assert Pinned("kafka", "4.1.0", {"a:b:1": "x"}).directory != Pinned("kafka", "4.1.0", {"a:b:1": "y"}).directory


@dataclass
class StubArtifact:
    """Resolves to a file whose content is taken from a list, as a repository that answers differently each time."""

    cached_path: Path
    contents: list[bytes] = field(default_factory=list)

    def resolve(self) -> Path:
        if not self.cached_path.exists():
            if not self.contents:
                raise ConnectionError("https://somewhere")
            self.cached_path.write_bytes(self.contents.pop(0))
        return self.cached_path


@dataclass
class StubContext:
    artifact: StubArtifact

    def create_dependency(self, coordinate: str) -> "StubContext":
        return self


def test_a_truncated_download_is_fetched_again(tmp_path: Path) -> None:
    artifact = StubArtifact(tmp_path / "a.jar", [b"trunc", b"whole"])
    path = fetch(StubContext(artifact), "g:a:1", hashlib.sha256(b"whole").hexdigest())
    assert path.read_bytes() == b"whole"


def test_a_wrong_file_is_never_used(tmp_path: Path) -> None:
    artifact = StubArtifact(tmp_path / "a.jar", [b"evil", b"evil"])
    with pytest.raises(ArtifactMissing, match="checksum"):
        fetch(StubContext(artifact), "g:a:1", hashlib.sha256(b"whole").hexdigest())
    assert not artifact.cached_path.exists()


def test_a_missing_file_is_one_line_without_the_address(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing) as caught:
        fetch(StubContext(StubArtifact(tmp_path / "a.jar")), "g:a:1", "x")
    text = str(caught.value)
    assert "g:a:1" in text
    assert "ConnectionError" in text
    assert "somewhere" not in text
    assert "\n" not in text
