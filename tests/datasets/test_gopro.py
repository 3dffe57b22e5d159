"""The IMU of GoPro cameras: tables of gopro-utils, and a film's own track, made here as its makers describe it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.datasets.annotations import TimedAction
from karmma.datasets.epic import EpicConfig, VideoInfo, find_sources
from karmma.datasets.gopro import convert_gopro_imu, in_order
from karmma.media.containers import MediaError
from karmma.media.gpmf import read_telemetry
from karmma.media.tables import AXES, read_table
from karmma.modalities.imu import Imu
from karmma.types import KarmmaError

SCALES = {"ACCL": 418, "GYRO": 3755}
UNITS = {"ACCL": b"m/s\xb2", "GYRO": b"rad/s"}


def moved(seconds: np.ndarray) -> np.ndarray:
    """Force and turn `(samples, 6)` on the camera's axes X, Y, Z: somebody who nods; Y is up, as in a HERO7."""
    zero = np.zeros_like(seconds)
    force = np.stack([0.5 * np.sin(3 * seconds), 9.6 + 0.3 * np.cos(4 * seconds), 1.5 * np.sin(4 * seconds)], -1)
    return np.concatenate([force, np.stack([1.2 * np.cos(4 * seconds), 0.4 * np.sin(2 * seconds), zero], -1)], -1)


def as_hero7(values: np.ndarray) -> np.ndarray:
    """X, Y, Z in the order of a HERO7: Y, -X, Z."""
    return values[:, [1, 0, 2]] * np.array([1.0, -1.0, 1.0])


def write_tables(root: Path, stop: float = 6.0, accel_hz: float = 228.0, gyro_hz: float = 198.0) -> Path:
    for kind, columns, rate, part in (("accl", "Accl", accel_hz, slice(0, 3)), ("gyro", "Gyro", gyro_hz, slice(3, 6))):
        seconds = np.arange(0, stop, 1 / rate)
        rows = np.concatenate([1000 * seconds[:, None], as_hero7(moved(seconds)[:, part])], 1)
        lines = [",".join(map(repr, map(float, row))) for row in rows]
        (root / f"P01_101-{kind}.csv").write_text("\n".join([f"Milliseconds,{columns}X,{columns}Y,{columns}Z", *lines]))
    return root / "P01_101-accl.csv"


def klv(key: str, kind: str, size: int, content: bytes) -> bytes:
    return struct.pack(">4scBH", key.encode(), kind.encode(), size, len(content) // size) + content + b"\0" * (-len(content) % 4)


def sensor_stream(key: str, values: np.ndarray, order: str, unit: bytes | None = None) -> bytes:
    content = klv("STNM", "c", 1, b"Accelerometer") + klv("SIUN", "c", len(unit or UNITS[key]), unit or UNITS[key])
    content += klv("SCAL", "s", 2, struct.pack(">h", SCALES[key])) + (klv("ORIN", "c", 1, order.encode()) if order else b"")
    content += klv(key, "s", 6, np.rint(values * SCALES[key]).astype(">i2").tobytes())
    return klv("STRM", "\0", 1, content)


def payload(second: int, *, order: str = "", device: str = "Hero7 Black", unit: bytes | None = None, accel: int = 200) -> bytes:
    """One second of both sensors."""
    streams = b"".join(
        sensor_stream(key, as_hero7(moved(second + np.arange(count) / count)[:, part]), order, unit)
        for key, count, part in (("ACCL", accel, slice(0, 3)), ("GYRO", 400, slice(3, 6)))
    )
    return klv("DEVC", "\0", 1, klv("DVNM", "c", 1, device.encode()) + klv("STRM", "\0", 1, klv("TICK", "L", 4, b"\0" * 4)) + streams)


def box(kind: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def full(kind: str, *parts: bytes) -> bytes:
    return box(kind, b"\0" * 4, *parts)


def write_film(path: Path, payloads: list[bytes], tag: str = "gpmd") -> Path:
    """An MP4 with nothing but a track of telemetry, a payload a second."""
    heading = box("ftyp", b"mp41", b"\0" * 4, b"mp41")
    table = [
        full("stsd", struct.pack(">I", 1), box(tag, b"\0" * 6, struct.pack(">H", 1))),
        full("stts", struct.pack(">III", 1, len(payloads), 1000)),
        full("stsc", struct.pack(">IIII", 1, 1, len(payloads), 1)),
        full("stsz", struct.pack(">II", 0, len(payloads)), *(struct.pack(">I", len(one)) for one in payloads)),
        full("stco", struct.pack(">II", 1, len(heading) + 8)),
    ]
    unity = struct.pack(">9I", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    length = 1000 * len(payloads)
    minf = box("minf", box("gmhd", full("gmin", b"\0" * 12)),
               box("dinf", full("dref", struct.pack(">I", 1), box("url ", b"\0\0\0\1"))), box("stbl", *table))  # fmt: skip
    mdia = box("mdia", full("mdhd", struct.pack(">IIIIHH", 0, 0, 1000, length, 0, 0)),
               full("hdlr", b"mhlrmeta", b"\0" * 12, b"\x0bGoPro MET  "), minf)  # fmt: skip
    trak = box("trak", full("tkhd", struct.pack(">IIIII", 0, 0, 1, 0, length), b"\0" * 16, unity, b"\0" * 8), mdia)
    mvhd = full("mvhd", struct.pack(">IIII", 0, 0, 1000, length), struct.pack(">IH", 65536, 256), b"\0" * 10, unity, b"\0" * 24,
                struct.pack(">I", 2))  # fmt: skip
    path.write_bytes(heading + box("mdat", *payloads) + box("moov", mvhd, trak))
    return path


def compare(path: Path, start: float, stop: float) -> None:
    rows = read_table(path, AXES)
    assert rows["seconds"][0] == pytest.approx(start, abs=0.01) and rows["seconds"][-1] == pytest.approx(stop, abs=0.02)
    written = np.stack([rows[axis] for axis in AXES], -1)
    np.testing.assert_allclose(written, moved(rows["seconds"]), atol=0.01)


def test_tables_of_gopro_utils_become_one_on_the_cameras_axes(tmp_path: Path) -> None:
    table = convert_gopro_imu(write_tables(tmp_path), tmp_path / "imu" / "P01_101.csv")
    assert (table.rows, table.left_out) == (1368, 0)
    compare(tmp_path / "imu" / "P01_101.csv", 0.0, 6.0)
    assert Imu().doubt(tmp_path / "imu" / "P01_101.csv") == ""
    action = TimedAction("P01_101_0", "P01", "P01_101", 1.0, 2.0)
    assert find_sources(tmp_path, action, VideoInfo(), EpicConfig()) == {"imu": tmp_path / "imu" / "P01_101.csv"}


@pytest.mark.parametrize(("order", "device"), [("YxZ", "HERO11 Black"), ("", "Hero7 Black")])
def test_a_films_own_telemetry_lies_on_its_clock(tmp_path: Path, order: str, device: str) -> None:
    film = write_film(tmp_path / "GX01.MP4", [payload(second, order=order, device=device) for second in range(4)])
    telemetry = read_telemetry(film)
    assert telemetry.device == device and telemetry.force.order == order and len(telemetry.turn.seconds) == 1600
    assert convert_gopro_imu(film, tmp_path / "GX01.csv").rows == 800
    compare(tmp_path / "GX01.csv", 0.0, 4.0)


def test_axes_that_nobody_knows_are_asked_for(tmp_path: Path) -> None:
    film = write_film(tmp_path / "GX01.MP4", [payload(0, device="HERO99")])
    with pytest.raises(KarmmaError, match=r"GX01.MP4: a 'HERO99' does not say in which order its axes are; name it, e.g. --order YxZ"):
        convert_gopro_imu(film, tmp_path / "x.csv")
    convert_gopro_imu(film, tmp_path / "x.csv", "YxZ")
    compare(tmp_path / "x.csv", 0.0, 1.0)
    for wrong in ("XY", "XXZ", "up", ""):
        with pytest.raises(KarmmaError, match="expected X, Y, Z in some order"):
            in_order(np.zeros((1, 3)), wrong)


def test_where_one_sensor_is_missing_nothing_is_invented(tmp_path: Path) -> None:
    path = write_tables(tmp_path)
    gyro = tmp_path / "P01_101-gyro.csv"
    lines = gyro.read_text().splitlines()
    # A hole of 2 s, some rows twice, and an early end.
    gyro.write_text("\n".join(lines[:400] + lines[800:1000] + lines[990:995] + ["nan,1,1,1"]))
    table = convert_gopro_imu(path, tmp_path / "out.csv")
    rows = read_table(tmp_path / "out.csv", AXES)
    assert 350 < table.left_out < 800 and not ((rows["seconds"] > 2.2) & (rows["seconds"] < 3.8)).any()
    assert rows["seconds"][-1] < 5.2 and np.abs(np.stack([rows[axis] for axis in AXES], -1) - moved(rows["seconds"])).max() < 0.15


@pytest.mark.parametrize(("content", "words"), [
    (b"", "Invalid data|no telemetry|End of file"), (b"garbage" * 50, "Invalid data|no telemetry"),
])  # fmt: skip
def test_files_that_are_no_films_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=rf"bad\.mp4: .*({words})"):
        read_telemetry(tmp_path / "bad.mp4")


def test_broken_telemetry_is_named(tmp_path: Path, clock_video: Path) -> None:
    with pytest.raises(MediaError, match=r"no telemetry of a GoPro camera in it, or without ACCL and GYRO"):
        read_telemetry(clock_video)
    with pytest.raises(MediaError, match="no such file"):
        read_telemetry(tmp_path / "none.mp4")
    for content, words in (
        (payload(0)[:8] + payload(0)[8:100], "reaches beyond the end"),
        (payload(0, unit=b"g"), "ACCL is in 'g', expected 'm/s²'"),
        (klv("DEVC", "\0", 1, klv("STRM", "\0", 1, klv("ACCL", "s", 2, b"\0\1" * 4))), "4 values and 1 scales, expected three axes"),
        (klv("DEVC", "\0", 1, klv("STRM", "\0", 1, klv("ACCL", "?", 6, b"\0" * 6))), "of kind '\\?', no numbers"),
        (klv("DEVC", "\0", 1, sensor_stream("ACCL", np.ones((3, 3)), "")), "or without GYRO"),
    ):
        with pytest.raises(MediaError, match=words):
            read_telemetry(write_film(tmp_path / "film.mp4", [content]))
    mixed = [payload(0, order="YxZ"), payload(1, order="ZXY")]
    with pytest.raises(MediaError, match="axes in the orders YxZ, ZXY"):
        read_telemetry(write_film(tmp_path / "film.mp4", mixed))


def test_the_command_goes_on_and_names_what_failed(tmp_path: Path) -> None:
    good = write_tables(tmp_path)
    (tmp_path / "P01_102-accl.csv").write_text("Milliseconds,AcclX,AcclY,AcclZ\n0,1,x,3\n")
    (tmp_path / "P01_103-accl.csv").write_text("Milliseconds,AcclX,AcclY,AcclZ\n0,1,2,3\n")
    result = CliRunner().invoke(app, ["convert", "gopro-imu", str(tmp_path / "P01_102-accl.csv"), str(tmp_path / "P01_103-accl.csv"),
                                      str(tmp_path / "clips.csv"), str(good), "--out", str(tmp_path / "imu")])  # fmt: skip
    assert result.exit_code == 3 and "P01_101: 1368 rows, 0.00 to 6.00 s" in result.output
    assert "P01_102-accl.csv: line 2: column 'AcclY': could not convert" in result.output and "P01_103-gyro.csv" in result.output
    assert "clips.csv: expected the name of a film or of a table <video>-accl.csv" in result.output
    assert [path.name for path in (tmp_path / "imu").iterdir()] == ["P01_101.csv"]
