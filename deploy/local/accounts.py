"""The account that PostgreSQL runs as: it refuses uid 0, so root lends it the unprivileged `nobody`."""

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import NoServerAccount, UnsafeDirectory

UNPRIVILEGED = "nobody"
SHELTERS = Path("/var/tmp")  # noqa: S108  not /tmp: a stack outlives the cleaners of /tmp


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int

    def can_enter(self, directory: Path) -> bool:
        """Whether this account can search the directory and all its parents (asked of the system: ACLs count)."""
        probe = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return probe.returncode == 0


def server_account() -> Account | None:
    """The account to start PostgreSQL with, None where the present one will do. Raises NoServerAccount."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise NoServerAccount(UNPRIVILEGED) from None
    return Account(entry.pw_uid, entry.pw_gid)


def shelter_of(state_dir: Path) -> Path:
    """The directory that stands in for a state directory which the account cannot enter."""
    digest = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:12]
    return SHELTERS / f"tidemark-{digest}"


def server_directory(state_dir: Path, account: Account | None) -> Path:
    """Where PostgreSQL's data of this state directory lies. Raises UnsafeDirectory."""
    state_dir.mkdir(parents=True, exist_ok=True)
    if account is None or account.can_enter(state_dir):
        return state_dir
    shelter = shelter_of(state_dir)
    shelter.mkdir(mode=0o755, exist_ok=True)
    # Anybody may create names in /var/tmp: a directory that another account prepared is not trusted.
    if shelter.is_symlink() or shelter.stat().st_uid != os.geteuid():
        raise UnsafeDirectory(shelter)
    return shelter


def reachable_tree(tree: Path, directory: Path, account: Account | None) -> Path:
    """The tree itself, or a copy of it under the given directory where the account cannot enter the tree."""
    if account is None or account.can_enter(tree):
        return tree
    copy = directory / tree.name
    if not copy.is_dir():
        scratch = directory / f"{tree.name}.{os.getpid()}"
        shutil.copytree(tree, scratch, symlinks=True)
        scratch.rename(copy)
    return copy
