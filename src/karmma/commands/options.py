"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[Path, typer.Argument(help="directory of the data set")]
Settings = Annotated[list[str] | None, typer.Argument(help="settings of the data set as key=value", metavar="[KEY=VALUE]...")]
Overrides = Annotated[list[str] | None, typer.Argument(help="overrides as key.path=value", metavar="[KEY=VALUE]...")]
