"""Which changes of a JSON Schema break the messages or the readers of today. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Fields that went, types and values no longer allowed, fields newly required, limits drawn closer."""
    return list(dict.fromkeys(_compare(_Node(old, old), _Node(new, new), "", 0)))


class _Node:
    def __init__(self, root: Schema, schema: Schema) -> None:
        while "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        self.root = root
        self.schema = schema

    def child(self, schema: Schema) -> "_Node":
        return _Node(self.root, schema)

    @property
    def fields(self) -> Schema:
        found: Schema = self.schema.get("properties", {})
        return found

    @property
    def types(self) -> set[str]:
        """Every type that is allowed, with its format; one for each branch of a union."""
        branches = self.schema.get("anyOf") or self.schema.get("oneOf")
        if branches:
            return set().union(*(self.child(each).types for each in branches))
        name = self.schema.get("type", "any")
        return {f"{name} ({self.schema['format']})" if "format" in self.schema else str(name)}

    @property
    def values(self) -> set[str] | None:
        allowed = self.schema.get("enum") or ([self.schema["const"]] if "const" in self.schema else None)
        return None if allowed is None else {str(value) for value in allowed}


def _compare(old: _Node, new: _Node, path: str, depth: int) -> Iterator[str]:
    where = path or "event"
    if gone := old.types - new.types:
        yield f"{where}: no longer {', '.join(sorted(gone))}"
    if new.values is not None and (old.values is None or old.values - new.values):
        lost = sorted((old.values or {"any other"}) - new.values)
        yield f"{where}: values no longer allowed: {', '.join(lost)}"
    yield from _limits(old.schema, new.schema, where)
    for name in sorted(set(new.schema.get("required", ())) - set(old.schema.get("required", ()))):
        yield f"{_join(path, name)}: newly required"
    for name, schema in old.fields.items():
        if name not in new.fields:
            yield f"{_join(path, name)}: removed"
        elif depth < 8:
            yield from _compare(old.child(schema), new.child(new.fields[name]), _join(path, name), depth + 1)
    for part in ("items", "additionalProperties"):
        before, after = old.schema.get(part), new.schema.get(part)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _compare(old.child(before), new.child(after), f"{path}[]", depth + 1)
    yield from _branches(old, new, path, depth)


def _branches(old: _Node, new: _Node, path: str, depth: int) -> Iterator[str]:
    """Compare the branches of an optional object or list, where each side has one of them."""
    before, after = _structured(old), _structured(new)
    if before is not None and after is not None and (before is not old or after is not new):
        yield from _compare(before, after, path, depth + 1)


def _structured(node: _Node) -> _Node | None:
    branches = node.schema.get("anyOf")
    if not branches:
        return node
    found = [node.child(each) for each in branches if each.get("type") != "null"]
    return found[0] if len(found) == 1 else None


def _limits(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for name in _LOWER:
        if name in new and new[name] > old.get(name, float("-inf")):
            yield f"{where}: {name} raised to {new[name]}"
    for name in _UPPER:
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{where}: {name} lowered to {new[name]}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
