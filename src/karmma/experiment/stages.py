"""Stages of a run: each is done once, leaves a marker with what it depended on, and is skipped the next time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import processes
from ..files import read_json, write_json
from ..progress import Progress
from ..trees import flatten, keys_at_default, plain
from ..types import KarmmaError


class StageBook:
    """Markers `DIR/stages/<name>.json` of finished stages, with their settings and seconds.

    Settings are configs, or dicts of configs and plain values. A field that a marker does not have, since it is newer than
    the marker, is taken to have had its default: a new field's default must be what was done before.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def marker(self, name: str) -> Path:
        return self.directory / "stages" / f"{name.replace('/', '.')}.json"

    def is_done(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether the stage is finished with these settings. Raises KarmmaError if it was finished with others."""
        path = self.marker(name)
        if not path.exists():
            return False
        before, now = flatten(read_json(path)["settings"]), flatten(plain(settings))
        groups = {key.rpartition(".")[0] for key in before}  # what was off before is not newer: kernels: null, now {}
        newer = {key for key in keys_at_default(settings) - set(before) if key.rpartition(".")[0] in groups}
        for key in sorted((set(before) | set(now)) - newer):
            if before.get(key) != now.get(key):
                raise KarmmaError(
                    f"{self.directory}: stage {name} was run with {key} = {before.get(key)!r}, now {now.get(key)!r}; "
                    "choose another --out"
                )
        return True

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, Any]) -> Iterator[Progress]:
        """Run the body as a stage with a progress bar; the marker is written only when it ends well."""
        began = time.perf_counter()
        with Progress(name) as progress:
            yield progress
        if processes.is_first():
            write_json(self.marker(name), {"seconds": round(time.perf_counter() - began, 2), "settings": plain(settings)})

    def run(
        self, name: str, settings: Mapping[str, Any], work: Callable[[Progress], None], *, together: bool = False
    ) -> None:
        """Do `work` unless the stage is done: in the first process alone, or in all of them `together` (training)."""
        done = self.is_done(name, settings)
        processes.wait()
        if not done and (together or processes.is_first()):
            with self.stage(name, settings) as progress:
                work(progress)
        processes.wait()

    def seconds(self) -> dict[str, float]:
        """Seconds of every finished stage, in the order in which they ended."""
        paths = sorted((self.directory / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return {path.stem: read_json(path)["seconds"] for path in paths}
