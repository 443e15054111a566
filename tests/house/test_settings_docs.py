"""Every setting is explained, where it is declared and in docs/settings.md."""

from libs.common import settings_docs


def test_every_setting_has_a_description() -> None:
    silent = [
        settings_docs.variable(model, name)
        for model in settings_docs.models()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_the_document_is_fresh() -> None:
    assert settings_docs.FILE.read_text() == settings_docs.rendered(), "run `python -m libs.common.settings_docs`"


def test_the_document_names_every_setting() -> None:
    document = settings_docs.FILE.read_text()
    models = settings_docs.models()
    names = {settings_docs.variable(model, name) for model in models for name in model.model_fields}
    assert [name for name in sorted(names) if f"`{name}`" not in document] == []
