"""Where a training's figures can be followed: events for TensorBoard beside it, Weights & Biases where a recipe asks for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from .. import processes
from ..config import WandbConfig
from ..files import read_json, write_json
from ..types import KarmmaError

ID_FILE = "wandb.json"  # which run there a directory belongs to: a training that is resumed goes on in it


@dataclass(frozen=True)
class Tracker:
    """Sends what happens below a run's directory to Weights & Biases, a run there for each training, all of them in one group."""

    config: WandbConfig
    root: Path  # the directory of `karmma run`; without network everything waits in root/wandb
    settings: Mapping[str, Any]  # the recipe as plain values, shown beside the curves

    def check(self) -> None:
        """Raise KarmmaError where nobody is logged in, ModuleNotFoundError without the package: both before anything is trained."""
        import wandb

        if self.config.mode == "offline":
            return
        try:
            known = wandb.login()
        except wandb.errors.Error as error:
            raise unreachable(error) from error
        if not known:
            raise unreachable("nobody is logged in")

    @contextmanager
    def run(self, directory: Path) -> Iterator[Any]:
        """The run there that belongs to the root or a directory below it, ended with the body; as failed, if that fails.

        Raises KarmmaError where the server cannot be reached.
        """
        import wandb

        below = directory.relative_to(self.root).as_posix()
        try:
            run = wandb.init(
                project=self.config.project, entity=self.config.entity, mode=self.config.mode, dir=self.root,
                group=self.root.resolve().name, name="results" if below == "." else below.removesuffix("/training"),
                id=remembered_id(directory / ID_FILE), resume="allow", reinit="create_new",
                config=dict(self.settings), settings=wandb.Settings(silent=True, console="off"),
            )  # fmt: skip
        except wandb.errors.Error as error:
            raise unreachable(error) from error
        try:
            yield run
        except BaseException:
            run.finish(exit_code=1)
            raise
        run.finish()

    def tell_results(self, figures: Mapping[str, float], plots: Iterable[Path]) -> None:
        """What came out in the end, as the summary of the run that belongs to the root itself, with pictures."""
        import wandb

        with self.run(self.root) as run:
            run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in plots})
            run.summary.update(dict(figures))


def unreachable(reason: object) -> KarmmaError:
    return KarmmaError(f"wandb: {reason}; with wandb.mode=offline everything waits here for `wandb sync`")


def remembered_id(path: Path) -> str:
    """What a file says, or a new one that it says from now on."""
    if not path.exists():
        write_json(path, {"id": uuid.uuid4().hex[:12]})
    return str(read_json(path)["id"])


@contextmanager
def open_loggers(directory: Path, tracker: Tracker | None) -> Iterator[list[Logger]]:
    """Lightning's loggers for one training; of several processes only the first speaks to Weights & Biases."""
    board = TensorBoardLogger(str(directory), name="", version="tensorboard")
    if tracker is None or not processes.is_first():
        yield [board]
        return
    with tracker.run(directory) as run:
        yield [board, WandbLogger(experiment=run)]
