"""Links and commands of the documentation: each link leads somewhere, each command is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from karmma.cli import app
from karmma.config import load_recipe, shipped_recipes

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])


def anchors_of(page: Path) -> set[str]:
    """What a link may name after `#`: explicit anchors, and headings in GitHub's spelling."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    slugs = (re.sub(r"[^\w\- ]", "", re.sub(r"<[^>]*>", "", heading).lower()).strip().replace(" ", "-") for heading in headings)
    return set(re.findall(r'<a id="([^"]+)">', text)) | set(slugs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (page.parent / name).resolve() if name else page
        assert goal.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors_of(goal), f"{page.name}: {target}"


def commands_of(page: Path) -> Iterator[list[str]]:
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", page.read_text(), re.S | re.M):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.strip().startswith("karmma "):
                yield shlex.split(line, comments=True)[1:]


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a command; the program's own parser raises where it does not take them."""
    command: Any = get_command(app)
    name = ""
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    return name, command.make_context(name, words).params


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands_of(page))], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_taken_by_the_program(page: Path) -> None:
    for words in commands_of(page):
        name, params = parsed(words)
        shipped = str(params.get("recipe", "")).removeprefix("recipes/").removesuffix(".yaml")
        if name == "run" and params["recipe"] != Path("kitchen.yaml") and shipped in shipped_recipes():
            recipe = load_recipe(Path(shipped), params["overrides"])
            recipe.only(params["only"].split(",") if params["only"] else recipe.default_methods)


def test_what_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    package = ROOT / "src/karmma"
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py|(?:[a-z_]+/)+)`", text):
        assert (ROOT / name).exists() or (package / name).exists(), name
    code = "\n".join(path.read_text() for path in package.rglob("*.py"))
    for constant in re.findall(r"`([A-Z]{2,}(?:_[A-Z]+)*)`", text):
        assert re.search(rf"^{constant}\b", code, re.M), constant
