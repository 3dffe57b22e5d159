"""Verbs that turn what others published or recorded into the files that are read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ..files import stem_of
from ..trees import pairs_of
from ..types import KarmmaError

if TYPE_CHECKING:
    from ..datasets.imu_tables import ImuTable

Source = TypeVar("Source")


def convert_ssv2(
    files: Annotated[list[Path], typer.Argument(help="Something-Else's JSON files of boxes")],
    videos: Annotated[Path, typer.Option(help="directory of the .webm files")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per video; ROOT/boxes is where the data set looks")],
) -> None:
    """Boxes of Something-Something V2."""
    from ..datasets.boxes import convert_ssv2_boxes
    from ..progress import Progress

    with Progress("convert") as progress:
        counts = convert_ssv2_boxes(files, videos, out, progress.update)
    typer.echo(f"{counts['written']} box files; {counts['without_video']} videos are not there")


def convert_epic(
    files: Annotated[list[Path], typer.Argument(help="<participant>/hand-objects/<video>.pkl")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per video; ROOT/boxes is where the data set looks")],
) -> None:
    """Hand and object boxes of EPIC-KITCHENS-100. The pickles are read as plain lists; anything else in them is refused."""
    from ..datasets.boxes import convert_epic_boxes
    from ..datasets.epic import published_extraction

    for path in files:
        frames_hz = published_extraction(path.stem).frames_hz  # the detector looked at the published pictures
        typer.echo(f"{path.stem}: {convert_epic_boxes(path, out / f'{path.stem}.csv', frames_hz)} boxes")


def convert_gopro(
    files: Annotated[list[Path], typer.Argument(help="films of GoPro cameras, or <participant>/meta_data/<video>-accl.csv")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per video; ROOT/imu is where the data set epic looks")],
    order: Annotated[str | None, typer.Option(help="the source's axes where it does not tell them, e.g. YxZ")] = None,
) -> None:
    """The IMU in GoPro cameras as tables in m/s² and rad/s. Exit code 3: some could not be read and are named."""
    from ..datasets.gopro import ACCELERATION, convert_gopro_imu

    convert_each(files, out, lambda path, table: convert_gopro_imu(path, table, order), ACCELERATION)


def convert_ego4d(
    files: Annotated[list[Path], typer.Argument(help="tables of Ego4D's directory imu: <video>.csv")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per video; ROOT/imu_tables is where the data set looks")],
) -> None:
    """The IMU of Ego4D's videos as tables by seconds of the video. Exit code 3: some could not be read and are named."""
    from ..datasets.imu_tables import convert_ego4d_imu

    convert_each(files, out, convert_ego4d_imu)


def convert_h2o(
    root: Annotated[Path, typer.Argument(help="directory of the set: <subject>/<scene>/<take>/cam4/hand_pose below it")],
    out: Annotated[Path, typer.Option(help="directory for one .npz per take; ROOT/hands is where the data set looks")],
    frames_hz: Annotated[float, typer.Option(min=1, help="of the camera")] = 30.0,
) -> None:
    """The joints of both hands of H2O's head camera, one file a take. Exit code 3: some could not be read and are named."""
    from ..datasets.h2o import convert_h2o_hands, find_takes

    takes = find_takes(root)

    def convert(name: str) -> str:
        return f"{name}: {convert_h2o_hands(takes[name], out / f'{name}.npz', frames_hz)} moments"

    convert_all(list(takes), convert)


def convert_holoassist(
    sessions: Annotated[list[Path], typer.Argument(help="sessions' directories, with Export_py in each")],
    out: Annotated[Path, typer.Option(help="directory for one .npz per session; ROOT/hands is where the data set looks")],
) -> None:
    """Both hands of HoloAssist's sessions, from the camera. Exit code 3: some could not be read and are named."""
    from ..datasets.holoassist import convert_holoassist_hands

    def convert(session: Path) -> str:
        found = convert_holoassist_hands(session, out / f"{session.name}.npz")
        shares = f"left in view {100 * found['left_share']:.0f} %, right {100 * found['right_share']:.0f} %"
        return f"{session.name}: {found['moments']:.0f} moments, {shares}"

    convert_all(sessions, convert)


def convert_holoassist_motion(
    sessions: Annotated[list[Path], typer.Argument(help="sessions' directories, with Export_py in each")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per session; ROOT/imu is where the data set looks")],
) -> None:
    """The headset's motion in HoloAssist's sessions. Exit code 3: some could not be read and are named."""
    from ..datasets.holoassist import convert_holoassist_imu

    convert_each(sessions, out, convert_holoassist_imu)


def convert_rosbag(
    bags: Annotated[list[Path], typer.Argument(help="bags of ROS 2 (their directories) or ROS 1 (.bag)")],
    out: Annotated[Path, typer.Option(help="directory for NAME.mp4, NAME_imu.csv, NAME_depth.mkv of each bag")],
    topic: Annotated[list[str] | None, typer.Option(help="which topic is what, e.g. rgb=/camera/image_raw, side_rgb=…, imu=/imu/data, "
                                                    "depth=…, audio=…; default: the one topic of each kind")] = None,
    audio_hz: Annotated[int | None, typer.Option(min=1000, help="rate of sound, where no AudioInfo and no MP3 says it")] = None,
) -> None:
    """Films, depth and motion out of ROS bags, by the film's seconds. Exit code 3: some could not be read and are named."""
    from ..datasets.rosbag import convert_bag
    from ..progress import Progress

    topics = pairs_of("--topic", topic or [], "TOPIC")
    twice = sorted(name for name, count in Counter(stem_of(bag) for bag in bags).items() if count > 1)
    if twice:
        raise KarmmaError(f"several bags are called {twice[0]}, and so would be their files; give each an --out of its own")
    failures = 0
    for bag in bags:
        try:
            with Progress(f"convert {bag.name}") as progress:
                report = convert_bag(bag, out, topics, audio_hz, progress.update)
        except KarmmaError as error:
            failures += 1
            typer.echo(f"karmma: {error}", err=True)
            continue
        for modality, words in report.left_out.items():
            typer.echo(f"karmma: {bag.name}: {modality}: left out: {words}", err=True)
        typer.echo(f"{bag.name}: " + "; ".join(f"{modality} {words}" for modality, words in report.written.items()))
    raise typer.Exit(3 if failures else 0)


def convert_each(files: list[Path], out: Path, convert: Callable[[Path, Path], ImuTable], ending: str = "") -> None:
    """One table `<name>.csv` per file, whose name may have another ending than its suffix."""

    def convert_one(path: Path) -> str:
        name = path.name.removesuffix(ending) if ending and path.name.endswith(ending) else path.stem
        target = out / f"{name}.csv"
        if target.resolve() == path.resolve():
            raise KarmmaError(f"{path}: would be written over; choose another --out")
        table = convert(path, target)
        gaps = f", {table.left_out} left out" if table.left_out else ""
        return f"{name}: {table.rows} rows, {table.start_seconds:.2f} to {table.stop_seconds:.2f} s{gaps}"

    convert_all(files, convert_one)


def convert_all(sources: Sequence[Source], convert: Callable[[Source], str]) -> None:
    """Each of them; `convert` says what came of it. Exits with code 3 where some could not be read, which are named."""
    from ..progress import Progress

    failures, said = 0, list[str]()
    with Progress("convert") as progress:
        for done, source in enumerate(sources, 1):
            try:
                said.append(convert(source))
            except KarmmaError as error:
                failures += 1
                typer.echo(f"karmma: {error}", err=True)
            progress.update(done, len(sources))
    typer.echo("\n".join(said))
    raise typer.Exit(3 if failures else 0)
