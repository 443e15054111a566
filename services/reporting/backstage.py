"""Backstage's `catalog-info.yaml`: from its documents to components. Pure.

The loader makes texts, numbers, lists and mappings only. Anchors are refused, since a few lines of aliases can stand
for gigabytes; so is nesting that no such file has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from services.reporting.domain import LIFECYCLES, Lifecycle, folded

MAX_DOCUMENTS: Final = 500
_DEEPEST: Final = 32
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEFAULT: Final = "default"
_MAX_NAME: Final = 255
_MAX_TEXT: Final = 10_000
# What companies write beside Backstage's own three and our five.
_MEANS: Final[Mapping[str, Lifecycle]] = {
    **dict.fromkeys(("alpha", "beta", "preview", "development", "incubating", "experiment"), "experimental"),
    **dict.fromkeys(("ga", "stable", "live", "active", "maintained"), "production"),
    **dict.fromkeys(("proposed", "idea", "concept", "plan"), "planned"),
    **dict.fromkeys(("sunset", "legacy", "maintenance", "end-of-life", "eol"), "deprecated"),
    **dict.fromkeys(("retired", "archived", "removed", "end-of-service"), "decommissioned"),
}
# Annotations whose values are what other systems call the component.
_REFS: Final = ("github.com/project-slug", "gitlab.com/project-slug", "argocd/app-name", "backstage.io/kubernetes-id")


class NotReadable(ValueError):
    """The file is none that we read. The text says why and where, and holds nothing of it."""


class NotAccepted(ValueError):
    """A document cannot become a component; the text names field and fix."""


class OtherKind(ValueError):
    """A document describes something else."""


@dataclass(frozen=True, slots=True)
class Described:
    """A component as a document describes it. `identity` finds it again whatever else is changed."""

    identity: str
    name: str
    kind: str
    lifecycle: Lifecycle
    owner: str
    description: str | None
    refs: tuple[str, ...]
    metadata: dict[str, Any]


def documents(file: bytes) -> list[Any]:
    """All documents, an empty one as None. Raises NotReadable."""
    try:
        text = file.decode("utf-8-sig")
        _check(yaml.parse(text, Loader=_LOADER))
        return list(yaml.load_all(text, Loader=_LOADER))
    except NotReadable:
        raise
    except UnicodeDecodeError:
        raise NotReadable("the file is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise NotReadable(f"the file is no YAML{place}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise NotReadable("the file is no YAML that can be read") from error


def _check(events: Iterator[yaml.Event]) -> None:
    depth = count = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise NotReadable("anchors and aliases (`&x`, `*x`) are not taken; write values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.DocumentStartEvent)
        if depth > _DEEPEST:
            raise NotReadable(f"it is nested deeper than {_DEEPEST}")
        if count > MAX_DOCUMENTS:
            raise NotReadable(f"it holds more than {MAX_DOCUMENTS} documents; send it in parts")


def named(document: Any) -> tuple[str | None, str | None]:
    """Kind and name as far as a document tells them."""
    if not isinstance(document, Mapping):
        return None, None
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    kind = document.get("kind")
    return str(kind)[:_MAX_NAME] if kind else None, str(name)[:_MAX_NAME] if name else None


def described(document: Any) -> Described:
    """The component of a document. Raises OtherKind, NotAccepted."""
    if not isinstance(document, Mapping):
        raise NotAccepted("the document is no mapping with `kind`, `metadata` and `spec`")
    kind = _text(document, "kind", "kind", needed=True)
    if folded(kind) != "component":
        raise OtherKind(f"kind {kind!r} is not imported, only `Component`")
    metadata, spec = _part(document, "metadata", "metadata"), _part(document, "spec", "spec")
    name = _text(metadata, "name", "metadata.name", needed=True, longest=_MAX_NAME)
    namespace = _text(metadata, "namespace", "metadata.namespace", longest=_MAX_NAME) or _DEFAULT
    annotations = {
        str(each): str(value)
        for each, value in _part(metadata, "annotations", "metadata.annotations", needed=False).items()
    }
    full = f"{namespace}/{name}"
    identity = folded(f"component:{full}")
    return Described(
        identity=identity,
        name=name if folded(namespace) == _DEFAULT else full,
        kind=folded(_text(spec, "type", "spec.type", needed=True, longest=_MAX_NAME)),
        lifecycle=lifecycle_of(_text(spec, "lifecycle", "spec.lifecycle", needed=True)),
        owner=owner_of(_text(spec, "owner", "spec.owner", longest=_MAX_NAME)),
        description=_text(metadata, "description", "metadata.description", longest=_MAX_TEXT) or None,
        refs=tuple(
            dict.fromkeys([identity, folded(full), *(annotations[each] for each in _REFS if annotations.get(each))])
        ),
        metadata=_kept(metadata, namespace, annotations),
    )


def _kept(metadata: Mapping[Any, Any], namespace: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    title = _text(metadata, "title", "metadata.title", longest=_MAX_NAME)
    kept: dict[str, Any] = {"namespace": namespace}
    if title:
        kept["title"] = title
    if annotations:
        kept["annotations"] = dict(annotations)
    return kept


def lifecycle_of(written: str) -> Lifecycle:
    """Ours for a lifecycle as companies write it. Raises NotAccepted."""
    word = folded(written).replace(" ", "-").replace("_", "-")
    for lifecycle in LIFECYCLES:
        if word == lifecycle:
            return lifecycle
    if word not in _MEANS:
        raise NotAccepted(f"spec.lifecycle: {written[:40]!r} is not known; use one of {', '.join(LIFECYCLES)}")
    return _MEANS[word]


def owner_of(ref: str) -> str:
    """An owner as people call it: of `group:default/team-a` the last part; another namespace, or `user:`, stays."""
    owner = ref.strip().removeprefix("group:")
    return owner.removeprefix(f"{_DEFAULT}/")


def _part(document: Mapping[Any, Any], field: str, path: str, *, needed: bool = True) -> Mapping[Any, Any]:
    part = document.get(field)
    if part is None and not needed:
        return {}
    if not isinstance(part, Mapping):
        raise NotAccepted(f"{path}: must be a mapping")
    return part


def _text(part: Mapping[Any, Any], field: str, path: str, *, needed: bool = False, longest: int = _MAX_TEXT) -> str:
    value = part.get(field)
    if value is None or value == "":
        if needed:
            raise NotAccepted(f"{path}: is missing")
        return ""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise NotAccepted(f"{path}: must be a text")
    text = str(value).strip()
    if len(text) > longest:
        raise NotAccepted(f"{path}: is longer than {longest:,} characters")
    if "\0" in text:
        raise NotAccepted(f"{path}: holds a NUL character")
    if needed and not text:
        raise NotAccepted(f"{path}: is empty")
    return text
