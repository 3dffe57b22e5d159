"""Trees of plain values, as YAML and JSON hold them: overrides in them, and the dataclasses that they become and come from."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from .types import KarmmaError


def pairs_of(option: str, texts: Sequence[str], value: str) -> dict[str, str]:
    """What an option that may be given several times says as NAME=VALUE, by name. Raises KarmmaError for another form."""
    found = {}
    for text in texts:
        name, separator, said = text.partition("=")
        if not name or not separator or not said:
            raise KarmmaError(f"{option} {text!r} is not of the form NAME={value}")
        found[name] = said
    return found


def unshared(tree: Any) -> Any:
    """A copy in which YAML aliases are separate, so that an override of one does not change the other."""
    if isinstance(tree, dict):
        return {key: unshared(value) for key, value in tree.items()}
    return [unshared(value) for value in tree] if isinstance(tree, list) else tree


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str] | None) -> dict[str, Any]:
    """The tree itself, with `key.path=value` set in it; values are YAML. Raises KarmmaError for what is neither."""
    for override in overrides or []:
        apply_override(tree, override)
    return tree


def apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise KarmmaError(f"override {override!r} is not of the form key.path=value")
    *parents, last = key.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise KarmmaError(f"override {override!r}: {parent!r} holds a value, not keys")
        tree = child
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KarmmaError(f"override {override!r}: the value is not YAML: {' '.join(str(error).split())}") from error


def build(kind: type[Any], tree: Any, where: str) -> Any:
    """Validate a tree of plain values into a config dataclass; every complaint is one line that names the key."""
    refuse_unknown(kind, tree, where, "")
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        if words.startswith("Input should be") and isinstance(first["input"], int | float):
            words += f", not {first['input']}"
        raise KarmmaError(": ".join(filter(None, (where, key, words)))) from error


def refuse_unknown(kind: Any, tree: Any, where: str, prefix: str) -> None:
    """Raise KarmmaError for a key that the dataclass does not have, naming the nearest one it has."""
    if get_origin(kind) is dict and isinstance(tree, dict):
        for name, value in tree.items():
            refuse_unknown(get_args(kind)[1], value, where, f"{prefix}{name}.")
    for option in get_args(kind):
        if dataclasses.is_dataclass(option) and get_origin(kind) is not dict:
            refuse_unknown(option, tree, where, prefix)
    if not dataclasses.is_dataclass(kind) or not isinstance(tree, dict):
        return
    known = [entry.name for entry in dataclasses.fields(kind)]
    for name, value in tree.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.4)
            hint = f"did you mean {prefix}{near[0]!s}?" if near else f"known keys: {', '.join(known)}"
            raise KarmmaError(f"{where}: unknown key {prefix}{name}; {hint}")
        refuse_unknown(get_type_hints(kind)[name], value, where, f"{prefix}{name}.")


def plain(tree: Any) -> Any:
    """A config, or dicts and lists with configs in them, as JSON-able values."""
    return json.loads(json.dumps(tree, default=dataclasses.asdict))


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts by dotted key."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def keys_at_default(tree: Any, prefix: str = "") -> set[str]:
    """Dotted keys of those leaves of a tree that are fields of a config and have their default."""
    if dataclasses.is_dataclass(tree):
        entries = {entry.name: (getattr(tree, entry.name), default_of(entry)) for entry in dataclasses.fields(tree)}
    else:
        entries = {str(key): (value, dataclasses.MISSING) for key, value in tree.items()} if isinstance(tree, dict) else {}
    found: set[str] = set()
    for name, (value, default) in entries.items():
        key = f"{prefix}.{name}" if prefix else name
        found |= set(flatten(plain(value), key)) if value == default else keys_at_default(value, key)
    return found


def default_of(entry: dataclasses.Field[Any]) -> Any:
    """A field's default, MISSING where it has none."""
    return entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
