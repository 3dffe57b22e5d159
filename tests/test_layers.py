"""Who may import whom: lower rooms never import higher ones."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "karmma"
LEVELS = {
    "types": 1, "plugins": 1, "skeletons": 1, "augmentation": 1, "later": 1, "config": 1, "trees": 1, "progress": 1, "files": 1,
    "memory": 1, "machine": 1, "workers": 1, "processes": 1,
    "media": 2, "modalities": 3, "models": 3, "data": 4, "datasets": 4,
    "training.losses": 5, "evaluation.metrics": 5,
    "training": 6, "evaluation": 6, "deploy": 6, "preparation": 6, "experiment": 7, "commands": 8, "cli": 9,
}  # fmt: skip


def level_of(module: str) -> int:
    return max((len(room), level) for room, level in LEVELS.items() if module == room or module.startswith(room + "."))[1]


def imported_modules(path: Path) -> list[str]:
    """Modules of this package that a file imports, relative to it."""
    package = [*path.relative_to(SOURCE).with_suffix("").parts][:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            prefix = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found += [prefix] if node.module else [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("karmma."):
            found.append((node.module or "").removeprefix("karmma."))
    return found


def test_imports_only_point_downwards() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        wrong += [f"{module} imports {other}" for other in imported_modules(path) if level_of(other) > level_of(module)]
    assert wrong == []


def test_models_know_only_types_skeletons_config_and_files() -> None:
    for path in (SOURCE / "models").rglob("*.py"):
        others = {module.split(".")[0] for module in imported_modules(path)}
        assert others <= {"types", "skeletons", "config", "trees", "files", "models"}, path
