"""Secrets of installations without a secret store."""

import json
from pathlib import Path

import pytest

from deploy.secrets import SEED, Secrets, main
from deploy.setup.settings import LOGIN_ROLES
from libs.common.auth import InternalSigner, InternalVerifier, Principal
from libs.common.services import SERVICES, dashed


def read(directory: Path) -> dict[str, str]:
    found = {path for path in directory.rglob("*") if path.is_file() and path != directory / SEED}
    return {str(path.relative_to(directory)): path.read_text() for path in found}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    assert main([str(tmp_path / "made")]) == 0
    first = read(tmp_path / "made")
    assert main([str(tmp_path / "made")]) == 0
    assert read(tmp_path / "made") == first


def test_a_second_run_adds_what_is_missing(tmp_path: Path) -> None:
    main([str(tmp_path / "made")])
    complete = read(tmp_path / "made")
    (tmp_path / "made" / "exporter" / "TIDEMARK_SEALING_KEYS").unlink()
    main([str(tmp_path / "made")])
    assert read(tmp_path / "made") == complete


def test_others_cannot_look_into_the_directory(tmp_path: Path) -> None:
    main([str(tmp_path / "made")])
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    assert (tmp_path / "made" / SEED).stat().st_mode & 0o077 == 0


def test_two_installations_share_nothing_secret(tmp_path: Path) -> None:
    for name in ("one", "other"):
        main([str(tmp_path / name)])
    one, other = read(tmp_path / "one"), read(tmp_path / "other")
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] == other[name]} == {"gateway/TIDEMARK_INTERNAL_KEY_ID"}


def test_a_damaged_seed_is_refused(tmp_path: Path) -> None:
    main([str(tmp_path)])
    (tmp_path / SEED).write_bytes(b"short")
    with pytest.raises(ValueError, match="not a seed"):
        main([str(tmp_path)])


def test_every_process_has_a_folder_and_every_login_a_password_of_its_own(tmp_path: Path) -> None:
    folders = Secrets(bytes(32)).folders()
    assert set(folders) == {"postgres", "warehouse", "setup", "cli", *map(dashed, SERVICES)}
    passwords = json.loads(folders["setup"]["TIDEMARK_ROLE_PASSWORDS"])
    assert passwords.keys() == set(LOGIN_ROLES)
    assert len(set(passwords.values())) == len(LOGIN_ROLES)
    for role, password in passwords.items():
        service, _, kind = role.rpartition("_")
        url = folders[dashed(service)][f"TIDEMARK_{kind.upper()}_DATABASE_URL"]
        assert url == f"postgresql://{role}:{password}@postgres:5432/tidemark"


def test_services_believe_the_gateway() -> None:
    folders = Secrets(bytes(32)).folders()
    gateway = folders["gateway"]
    signer = InternalSigner.of(gateway["TIDEMARK_INTERNAL_KEY_ID"], gateway["TIDEMARK_INTERNAL_PRIVATE_KEY"])
    caller = Principal(tenant=None, subject="someone")
    for service in SERVICES:
        verifier = InternalVerifier.of(json.loads(folders[dashed(service)]["TIDEMARK_INTERNAL_PUBLIC_KEYS"]))
        assert verifier.verify(signer.mint(caller)) == caller
    assert "TIDEMARK_INTERNAL_PRIVATE_KEY" not in folders["reporting"]
