"""What other installed packages bring: they declare it as entry points, and nothing of this package needs to be changed."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .types import KarmmaError

MODALITY, DATA_SET = "karmma.modalities", "karmma.datasets"  # groups of entry points


def plugin_names(group: str) -> tuple[str, ...]:
    """What installed packages declare in a group, sorted; none of it is imported for that."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def load_plugin(group: str, name: str) -> Any:
    """What an installed package declares by that name, None where none does.

    Raises KarmmaError if two packages do, or if it cannot be imported.
    """
    found = {point.value: point for point in entry_points(group=group, name=name)}
    if len(found) > 1:
        raise KarmmaError(f"{name}: more than one package declares it in {group}: {', '.join(map(package_of, found.values()))}")
    for point in found.values():
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise KarmmaError(f"{name}: {point.value} of {package_of(point)} cannot be imported: {error}") from error
    return None


def package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
