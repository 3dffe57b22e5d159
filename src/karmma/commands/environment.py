"""The verb that tells what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def env(json_path: Annotated[Path | None, typer.Option("--json", help="write everything here")] = None) -> None:
    """What works here: processor, codecs, engines, packages; each tried, not looked up. Paste it into bug reports.

    Exit code 0: nothing is broken (what is missing can be installed), 3: something that is installed does not work.
    """
    from ..deploy.environment import environment, is_broken, lines_of
    from ..files import write_json

    facts = environment()
    typer.echo("\n".join(lines_of(facts)))
    if json_path is not None:
        write_json(json_path, facts)
    raise typer.Exit(3 if is_broken(facts) else 0)
