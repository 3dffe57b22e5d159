"""Series of arrays: clocks, interpolation, broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from karmma.media.containers import MediaError
from karmma.media.kept import forget_files
from karmma.media.series import RECORDINGS, Series, read_series


def test_a_series_without_a_clock_spans_its_segment() -> None:
    series = Series(np.arange(10, dtype=np.float32)[:, None])
    assert series.at(np.array([0.25, 1.0, 2.0 - 1e-9]), 0.0, 2.0)[:, 0] == pytest.approx([0.75, 4.5, 9.0])
    assert series.nearest(np.array([10.1]), 10.0, 12.0)[0, 0] == 0
    assert series.covers(100.0, 101.0)


def test_a_clock_decides_where_a_moment_lies() -> None:
    series = Series(np.array([[0.0], [10.0], [20.0]], np.float32), np.array([0.0, 1.0, 5.0]))
    assert series.at(np.array([0.5, 3.0]), 0.0, 2.0)[:, 0] == pytest.approx([5.0, 15.0])
    assert series.covers(4.0, 6.0) and not series.covers(2.0, 4.0)


def test_a_single_sample_is_enough() -> None:
    assert Series(np.array([[3.0]], np.float32)).at(np.array([0.1, 0.9]), 0.0, 1.0).tolist() == [[3.0], [3.0]]


def test_time_is_moved_to_the_front(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 3, 7))
    scipy.io.savemat(tmp_path / "a.mat", {"d_skel": values})
    series = read_series(tmp_path / "a.mat", "d_skel", -1)
    assert series.values.shape == (7, 20, 3) and series.values[4] == pytest.approx(values[:, :, 4])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"x": np.array(["a", "b"])}, "no array of numbers"),
        ({"x": np.zeros((0, 3))}, "no array of numbers"),
        ({"x": np.array([[np.inf]])}, "not finite"),
        ({"y": np.zeros(3)}, "no array 'x'; found: y"),
        ({"x": np.zeros((3, 1)), "seconds": np.array([0.0, 2.0, 1.0])}, "growing moments"),
        ({"x": np.zeros((3, 1)), "seconds": np.array([0.0, 2.0])}, "3 samples of 'x', but 2 seconds"),
        ({"x": np.zeros((3, 1)), "seconds": np.array(["a", "b", "c"])}, "seconds are no numbers"),
        ({"x": np.zeros((3, 1)), "seconds": np.array([])}, "growing moments"),
        ({"x": np.array([{"a": 1}], dtype=object)}, "holds pickled objects, which are not loaded"),
    ],
)
def test_what_is_wrong_with_an_array_is_said(tmp_path: Path, content: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "a.npz", **content)  # type: ignore[arg-type]
    with pytest.raises(MediaError, match=words) as error:
        read_series(tmp_path / "a.npz", "x")
    assert "a.npz" in str(error.value)


@pytest.mark.parametrize("suffix", [".mat", ".npz"])
@pytest.mark.parametrize("size", [0, 3, 127, 128, 200, 2000])
def test_truncated_and_foreign_files_are_named(tmp_path: Path, suffix: str, size: int) -> None:
    path = tmp_path / f"a{suffix}"
    values = np.random.default_rng(0).normal(size=(300, 3))
    if suffix == ".mat":
        scipy.io.savemat(path, {"x": values}, do_compression=True)
    else:
        np.savez(path, x=values)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(MediaError, match=f"a{suffix}"):
        read_series(path, "x")
    path.write_bytes(np.random.default_rng(size).bytes(size))
    with pytest.raises(MediaError, match=f"a{suffix}"):
        read_series(path, "x")


def test_a_file_of_another_kind_is_told_what_arrays_are_read_from(tmp_path: Path) -> None:
    (tmp_path / "poses.csv").write_text("seconds,x0\n")
    with pytest.raises(MediaError, match=r"poses.csv: arrays are read from .mat, .npy, .npz, not from .csv"):
        read_series(tmp_path / "poses.csv", "skeleton")


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), seconds=np.arange(3) / 10)
    series = read_series((tmp_path / "a.npz").rename(tmp_path / "A.NPZ"), "x")
    assert series.seconds is not None and series.seconds.tolist() == [0, 0.1, 0.2] and series.values.tolist() == [0, 1, 2]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read_series(tmp_path / "none.mat", "x")


def test_a_recording_is_parsed_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones((3, 2)), seconds=np.arange(3.0))
    assert read_series(path, "x") is read_series(path, "x")
    np.savez(path, x=np.zeros((4, 2)), seconds=np.arange(4.0))
    assert read_series(path, "x").values.shape == (4, 2)
    forget_files(tmp_path)
    assert not [key for key in RECORDINGS.kept if str(tmp_path) in key[0][0]]


def test_a_recording_is_refused_only_where_it_holds_no_numbers(tmp_path: Path) -> None:
    values = np.arange(20.0).reshape(10, 2)
    values[4, 1] = np.nan
    np.savez(tmp_path / "a.npz", x=values, seconds=np.arange(10.0))
    series = read_series(tmp_path / "a.npz", "x")
    assert series.at(np.array([1.5, 2.5]), 1.0, 3.0)[:, 0] == pytest.approx([3.0, 5.0])
    assert series.nearest(np.array([5.9]), 5.0, 7.0).tolist() == [[12.0, 13.0]]
    for read in (series.at, series.nearest):
        with pytest.raises(MediaError, match=r"a\.npz: values that are no numbers at 4\.200 s"):
            read(np.array([2.5, 4.2]), 2.0, 5.0)
