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
        """Raise KarmmaError, before anything is trained, where the package is missing or nobody is logged in."""
        wandb = import_wandb()
        if self.config.mode == "offline":
            return
        try:
            known = wandb.login()
        except wandb.errors.Error as error:
            raise KarmmaError(f"wandb: {error}; or wandb.mode=offline, and `wandb sync` later") from error
        if not known:
            raise KarmmaError("wandb: nobody is logged in: `wandb login`, or wandb.mode=offline, and `wandb sync` later")

    @contextmanager
    def run(self, directory: Path) -> Iterator[Any]:
        """The run there that belongs to the root or a directory below it, ended with the body; as failed, if that fails."""
        wandb, below = import_wandb(), directory.relative_to(self.root).as_posix()
        run = wandb.init(
            project=self.config.project, entity=self.config.entity, mode=self.config.mode, dir=self.root,
            group=self.root.resolve().name, name="results" if below == "." else below.removesuffix("/training"),
            id=remembered_id(directory / ID_FILE), resume="allow", reinit="create_new",
            config=dict(self.settings), settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
        try:
            yield run
        except BaseException:
            run.finish(exit_code=1)
            raise
        run.finish()


    def tell_results(self, figures: Mapping[str, float], plots: Iterable[Path]) -> None:
        """What came out in the end, as the summary of the run that belongs to the root itself, with pictures."""
        with self.run(self.root) as run:
            run.log({f"plots/{path.stem}": import_wandb().Image(str(path)) for path in plots})
            run.summary.update(dict(figures))


def import_wandb() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise KarmmaError("wandb: Weights & Biases is not installed: pip install 'karmma[wandb]'") from error
    return wandb


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
