"""Settings come from the environment and from mounted secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from libs.common.settings import SECRETS_DIR, ServiceSettings

FILES = {
    "TIDEMARK_API_DATABASE_URL": "postgresql://reporting_api:pw@postgres/tidemark\n",
    "TIDEMARK_WORKER_DATABASE_URL": "postgresql://reporting_worker:pw@postgres/tidemark",
    "TIDEMARK_SEALING_KEYS": '{"k1": "c2VjcmV0"}',
    "TIDEMARK_INTERNAL_PUBLIC_KEYS": '{"k1": "cHVibGlj"}',
}


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    monkeypatch.setenv("TIDEMARK_HTTP_PORT", "8080")
    return tmp_path


def test_each_file_is_a_setting(mounted: Path) -> None:
    settings = ServiceSettings()
    assert settings.api_database_url.get_secret_value() == FILES["TIDEMARK_API_DATABASE_URL"].strip()
    assert settings.sealing_keys["k1"].get_secret_value() == "c2VjcmV0"
    assert settings.internal_public_keys == {"k1": "cHVibGlj"}


def test_the_environment_goes_before_a_file(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_API_DATABASE_URL", "postgresql://other")
    assert ServiceSettings().api_database_url.get_secret_value() == "postgresql://other"


def test_a_missing_file_is_named_without_showing_the_others(mounted: Path) -> None:
    (mounted / "TIDEMARK_SEALING_KEYS").unlink()
    with pytest.raises(ValidationError) as raised:
        ServiceSettings()
    assert "reporting_api:pw" not in str(raised.value)
    assert [problem["loc"] for problem in raised.value.errors()] == [("sealing_keys",)]
