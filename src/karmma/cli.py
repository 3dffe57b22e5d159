"""The command line: verbs to functions, no logic. Errors a user can mend are one line and exit code 2."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

import typer

from .commands import benchmarks, conversions, data, environment, experiments, recordings
from .types import KarmmaError

EXTRAS = {
    "train": ("torch", "lightning", "tensorboard"), "export": ("onnx", "onnxscript", "nncf"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"), "data": ("pyarrow", "fsspec"), "wandb": ("wandb",), "ros": ("rosbags",),
}  # fmt: skip
VERBS: tuple[Callable[..., None], ...] = (
    experiments.run, experiments.recipes, data.simulate, recordings.predict, experiments.evaluate, experiments.scores,
    experiments.compare, recordings.stream, recordings.export, recordings.serve, data.check, data.prepare, experiments.profile,
    data.features, environment.env,
)  # fmt: skip
MENDABLE = {  # by whoever started the command: rights, a full disk, a file where a directory should be
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "bench": ("How fast parts are on this machine.", {"data": data.bench_data}),
    "convert": ("Published detections, cameras' telemetry and robots' bags into the files that are read here.",
                {"ssv2-boxes": conversions.convert_ssv2, "epic-boxes": conversions.convert_epic,
                 "gopro-imu": conversions.convert_gopro, "ego4d-imu": conversions.convert_ego4d, "h2o-hands": conversions.convert_h2o,
                 "holoassist-hands": conversions.convert_holoassist, "holoassist-imu": conversions.convert_holoassist_motion,
                 "rosbag": conversions.convert_rosbag}),
    "metrics": ("Official figures of a benchmark from scores.", {"epic": benchmarks.metrics_epic}),
    "submit": ("Files for a benchmark's server.", {"epic": benchmarks.submit_epic}),
}  # fmt: skip

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
for verb in VERBS:
    app.command()(verb)
for group, (purpose, verbs) in GROUPS.items():
    sub = typer.Typer(no_args_is_help=True, help=purpose)
    app.add_typer(sub, name=group)
    for name, verb in verbs.items():
        sub.command(name)(verb)


def main() -> None:
    """Entry point."""
    try:
        app()
    except KarmmaError as error:
        print(f"karmma: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""  # a full disk or a port has no name
        print(f"karmma: {where}{error.strerror}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = next((extra for extra, names in EXTRAS.items() if error.name and error.name.split(".")[0] in names), None)
        if extra is None:
            raise
        print(f"karmma: this needs {error.name}: pip install 'karmma[{extra}]'", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
