"""Stores of clips and tokens, and the order of epochs."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap

from karmma.augmentation import Augmentation
from karmma.data.clips import ClipStore
from karmma.data.loading import EpochLoader, mix_seed, within
from karmma.data.manifest import Manifest, Segment
from karmma.data.missing import IndependentDropout, Subset
from karmma.data.reading import SegmentReading, read_source
from karmma.data.streaming import StreamStore, read_in_time
from karmma.data.tokens import TokenStore
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.modalities import Modality, make_modalities
from karmma.types import Clip, KarmmaError, LabelSpace, collate

MODALITIES = make_modalities(
    {"rgb": {"frames": 2, "height": 16, "width": 16}, "audio": {"seconds": 0.5, "bands": 16}, "imu": {}, "detections": {}}
)


@pytest.fixture(scope="module")
def store(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    made = ClipStore(tmp_path_factory.mktemp("clips"), load_kitchen(kitchen_root).split("train"), MODALITIES)
    made.write(workers=1)
    return made


def test_stored_clips_equal_fresh_readings(store: ClipStore) -> None:
    assert store.available.all()
    segment = store.segments[2]
    fresh = read_source(MODALITIES["rgb"], segment.sources["rgb"], segment.start_seconds, segment.stop_seconds)
    assert fresh is not None and np.array_equal(fresh, store.arrays["rgb"][2])
    batch = store.batch([2, 0], None)
    assert torch.equal(batch.data["rgb"][0], MODALITIES["rgb"].transform(torch.from_numpy(fresh)[None], None)[0])
    assert batch.labels["verb"].tolist() == [store.segments[2].labels["verb"], store.segments[0].labels["verb"]]


def test_broken_and_missing_sources_are_absent_named_and_counted(kitchen_root: Path, tmp_path: Path) -> None:
    segments = list(load_kitchen(kitchen_root).split("train")[:4])
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"not a video" * 100)
    silent, noise = tmp_path / "none.csv", tmp_path / "noise.csv"
    noise.write_bytes(bytes(range(256)) * 9)
    broken = {**segments[1].sources, "rgb": garbage, "audio": garbage, "detections": noise}
    segments[1] = Segment("broken", "P", 0, 1, segments[1].labels, broken)
    segments[2] = Segment("bare", "P", 0, 1, segments[2].labels, {"imu": silent, "detections": silent})
    segments[3] = Segment("sightless", "P", 0, 1, segments[3].labels, {"imu": segments[3].sources["imu"]})
    made = ClipStore(tmp_path / "store", segments, MODALITIES)
    made.write(workers=1)
    assert made.available.tolist() == [[True] * 4, [False, False, True, False], [False] * 4, [False, False, True, False]]
    assert made.usable.tolist() == [0, 1, 3]
    assert {(row[0], row[1]) for row in made.failures()} == {("broken", "rgb"), ("broken", "audio"), ("broken", "detections")}
    assert all("garbage.mp4" in row[2] or "noise.csv: not a CSV" in row[2] for row in made.failures())


def test_a_clip_of_another_shape_is_named(kitchen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = load_kitchen(kitchen_root).split("train")[:3]

    def read(segment: Segment, modalities: Mapping[str, Modality]) -> SegmentReading:
        steps = 5 if segment is segments[1] else 4
        return SegmentReading({"imu": np.ones((steps, 6), np.float32)}, {})

    monkeypatch.setattr("karmma.data.clips.read_segment", read)
    made = ClipStore(tmp_path / "store", segments, {"imu": MODALITIES["imu"]})
    made.write(workers=1)
    assert made.available.flatten().tolist() == [True, False, True]
    assert made.failures() == [[segments[1].name, "imu", "imu: a clip of shape (5, 6), where the first one has (4, 6)"]]


def test_an_interrupted_store_reads_only_what_is_missing(store: ClipStore, tmp_path: Path) -> None:
    shutil.copytree(store.directory, tmp_path / "copy")
    state = open_memmap(tmp_path / "copy" / "state.npy", mode="r+")
    state[3] = 0
    state.flush()
    again = ClipStore(tmp_path / "copy", store.segments, MODALITIES)
    with pytest.raises(KarmmaError, match="1 segments are not yet read"):
        _ = again.available
    counted: list[tuple[int, int]] = []
    again = ClipStore(tmp_path / "copy", store.segments, MODALITIES)
    again.write(workers=1, on_done=lambda done, total: counted.append((done, total)))
    assert counted == [(len(store), len(store))]
    assert all(np.array_equal(again.arrays[name], store.arrays[name]) for name in store.arrays)


def test_clips_that_were_read_for_another_student_are_not_taken_for_this_ones(store: ClipStore, tmp_path: Path) -> None:
    ClipStore(tmp_path, store.segments[:2], make_modalities({"imu": {}})).write(workers=1)
    ClipStore(tmp_path, store.segments[:2], make_modalities({"imu": {"noise": 0.02}})).write(workers=1)  # its default
    for settings, words in (({"seconds": 3.0}, "modalities.imu.seconds = 2.4, now 3.0"), ({"span": "segment"}, "modalities.imu.span")):
        with pytest.raises(KarmmaError, match=f"was read with {words}.*choose another --out"):
            ClipStore(tmp_path, store.segments[:2], make_modalities({"imu": settings})).write(workers=1)
    with pytest.raises(KarmmaError, match="holds imu, wanted are imu, audio: choose another"):
        ClipStore(tmp_path, store.segments[:2], make_modalities({"imu": {}, "audio": {}})).write(workers=1)


@pytest.mark.parametrize("kind", [ClipStore, StreamStore])
def test_clips_of_a_table_that_was_changed_are_not_taken_for_todays(kind: type[ClipStore], store: ClipStore, tmp_path: Path) -> None:
    """A row less in a set's table, and every clip behind it had its neighbour's label."""
    kind(tmp_path, store.segments, MODALITIES).write(workers=1)
    same, rest = kind(tmp_path, store.segments, MODALITIES), store.segments[1:]
    same.write(workers=1)
    assert len(same.available) == len(store)
    first, second = store.segments[:2]
    relabelled = replace(second, labels={**second.labels, "verb": second.labels["verb"] + 1})
    changes = {
        "a row less": (rest, second.name),
        "a row more": ((*store.segments, replace(second, name="new")), "new"),
        "another label": ((first, relabelled), second.name),
        "other seconds": ((first, replace(second, start_seconds=second.start_seconds + 0.1)), second.name),
        "the last row less": (store.segments[:-1], "none"),
    }  # fmt: skip
    for segments, named in changes.values():
        changed = kind(tmp_path, segments, MODALITIES)
        with pytest.raises(KarmmaError, match=f"first that is another is {named}: choose another --out"):
            changed.write(workers=1)
        with pytest.raises(KarmmaError, match="choose another --out"):
            _ = changed.available


def test_epochs_follow_from_seed_and_epoch(store: ClipStore) -> None:
    def epoch(seed: int, number: int) -> list[torch.Tensor]:
        return [item.batch.data["rgb"] for item in EpochLoader(store, 3, seed, number, augment=True)]

    assert all(torch.equal(one, other) for one, other in zip(epoch(1, 2), epoch(1, 2), strict=True))
    assert not torch.equal(epoch(1, 2)[0], epoch(1, 3)[0]) and not torch.equal(epoch(1, 2)[0], epoch(2, 2)[0])
    assert mix_seed(1, 2, 3) == mix_seed(1, 2, 3) != mix_seed(1, 3, 2)


def test_tokens_are_cached_per_view_and_survive_reopening(store: ClipStore, tmp_path: Path) -> None:
    def encode(clips: torch.Tensor) -> torch.Tensor:
        return clips.flatten(1)[:, :12].unflatten(1, (3, 4))

    tokens = TokenStore.write(tmp_path / "tokens", store, {"rgb": encode, "imu": encode}, views=2, segments_per_shard=4)
    expected = encode(store.batch(np.arange(len(store)), None).data["rgb"])
    cached = tokens.gather("rgb", np.zeros(len(store), np.int64), np.arange(len(store)))
    torch.testing.assert_close(cached, expected, atol=2e-3, rtol=2e-3)
    sizes = [shard.arrays["rgb"].shape[1] for shard in tokens.shards]
    assert sum(sizes) == len(store) and set(sizes[:-1]) == {4}
    assert not np.array_equal(tokens.shards[0].arrays["rgb"][0], tokens.shards[0].arrays["rgb"][1])
    rows = np.array([1, 4])
    views = np.array([0, 1])
    looks = TokenStore(tmp_path / "tokens", 4).looks(rows, views)
    assert tokens.views == 2 and looks["imu"].shape == (2, 3, 4)
    assert torch.equal(looks["imu"], tokens.gather("imu", views, rows))
    encoded = [store.names.index(name) for name in ("rgb", "imu")]
    assert np.array_equal(tokens.present[:, encoded], store.available.numpy()[:, encoded])
    assert not list((tmp_path / "tokens").glob(".*"))


def test_a_shard_of_tokens_that_is_there_is_not_made_again(store: ClipStore, tmp_path: Path) -> None:
    calls = []

    def encode(clips: torch.Tensor) -> torch.Tensor:
        calls.append(len(clips))
        return clips.flatten(1)[:, :12].unflatten(1, (3, 4))

    TokenStore.write(tmp_path, store, {"rgb": encode}, views=1, segments_per_shard=4)
    shutil.rmtree(tmp_path / "000001")
    assert sum(calls) == len(store)
    calls.clear()
    TokenStore.write(tmp_path, store, {"rgb": encode}, views=1, segments_per_shard=4)
    assert sum(calls) == 4


def test_collate_marks_absent_slots_with_nan() -> None:
    batch = collate([Clip({"a": torch.ones(2)}), Clip({"a": torch.ones(2), "b": torch.zeros(3)})], ("a", "b", "c"))
    assert batch.present["b"].tolist() == [False, True] and batch.present["c"].tolist() == [False, False]
    assert batch.data["b"][0].isnan().all() and "c" not in batch.data


def test_splits_that_are_missing_or_empty_are_named() -> None:
    manifest = Manifest("m", LabelSpace({"verb": ("a",)}), {"train": ()})
    with pytest.raises(KarmmaError, match="split 'train' is empty"):
        manifest.split("train")
    with pytest.raises(KarmmaError, match="no split 'dev'; there is: train"):
        manifest.split("dev")


def test_streamed_batches_equal_stored_ones_and_come_in_the_same_order(store: ClipStore, tmp_path: Path) -> None:
    stream = StreamStore(tmp_path, store.segments, store.modalities)
    stream.write()
    options: dict[str, Any] = {"augment": True}
    stored = list(EpochLoader(store, 3, 5, 1, **options))
    streamed = list(EpochLoader(stream, 3, 5, 1, workers=2, **options))
    assert len(stored) == len(streamed) > 1
    for one, other in zip(stored, streamed, strict=True):
        assert one.seed == other.seed and torch.equal(one.batch.labels["verb"], other.batch.labels["verb"])
        for name in one.batch.data:
            assert torch.equal(one.batch.data[name], other.batch.data[name]), name
    rows = np.array([0, 2])
    decoded, kept = stream.stored_batch(rows)["rgb"], store.stored_batch(rows)["rgb"]
    assert decoded[0].tolist() == kept[0].tolist() and torch.equal(decoded[1], kept[1])


@pytest.mark.parametrize("streams", [False, True])
def test_what_dropout_takes_is_neither_decoded_nor_augmented(streams: bool, store: ClipStore, tmp_path: Path) -> None:
    """What is left looks exactly as it would in a complete batch."""
    looked: Counter[str] = Counter()

    class SpyStore(StreamStore):
        def reading(self, index: int, modalities: Mapping[str, Modality]) -> SegmentReading:
            looked.update(list(modalities))
            return super().reading(index, modalities)

    seen = SpyStore(tmp_path, store.segments, store.modalities) if streams else store
    seen.write()
    drop: dict[str, Any] = {"scenario": IndependentDropout(0.5), "augment": True}
    complete, dropped = list(EpochLoader(store, 3, 5, 1, augment=True)), list(EpochLoader(seen, 3, 5, 1, **drop))
    kept: Counter[str] = Counter()
    for whole, part in zip(complete, dropped, strict=True):
        for name, flags in part.present.items():
            kept[name] += int(flags.sum())
            assert torch.equal(part.batch.present[name], flags) and not (flags & ~whole.present[name]).any()
            if flags.any():
                assert torch.equal(part.batch.data[name][flags], whole.batch.data[name][flags])
                assert not part.batch.data[name][~flags].any()
    assert 0 < sum(kept.values()) < sum(int(flags.sum()) for item in complete for flags in item.present.values())
    assert looked == (kept if streams else Counter())


def test_of_several_draws_what_any_leaves_is_decoded(store: ClipStore) -> None:
    options: dict[str, Any] = {"augment": True, "scenario": IndependentDropout(0.5)}
    once, often = (list(EpochLoader(store, 3, 5, 1, draws=draws, **options)) for draws in (1, 3))
    complete = list(EpochLoader(store, 3, 5, 1, augment=True))
    for one, several, whole in zip(once, often, complete, strict=True):
        assert one.draws == () and len(several.draws) == 3
        assert all(torch.equal(flags, one.present[name]) for name, flags in several.draws[0].items())
        for name, flags in several.present.items():
            assert torch.equal(flags, torch.stack([draw[name] for draw in several.draws]).any(0))
            assert torch.equal(several.batch.present[name], flags)
            if flags.any():
                assert torch.equal(several.batch.data[name][flags], whole.batch.data[name][flags])
        assert all(torch.stack(list(draw.values())).any(0).all() for draw in several.draws)
    patterns = {tuple(flags.tolist()) for item in often for draw in item.draws for flags in torch.stack(list(draw.values()), 1)}
    assert len(patterns) > 3


def test_a_draw_of_which_nothing_can_be_read_takes_what_there_is() -> None:
    present = {"rgb": torch.tensor([False, True]), "imu": torch.tensor([True, True])}
    draw = {"rgb": torch.tensor([True, True]), "imu": torch.tensor([False, False])}
    left = within(draw, present)
    assert left["rgb"].tolist() == [False, True] and left["imu"].tolist() == [True, False]


def test_a_clip_that_turns_out_to_be_unreadable_is_not_present(store: ClipStore, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"garbage" * 100)
    broken = replace(store.segments[0], sources={**store.segments[0].sources, "rgb": garbage})
    stream = StreamStore(tmp_path / "out", [broken, store.segments[1]], store.modalities)
    stream.write()
    (item,) = EpochLoader(stream, 2, 0, 0, augment=True, scenario=Subset(("rgb",)))
    assert item.present["rgb"].tolist() == item.batch.present["rgb"].tolist() == [False, True]
    assert not any(item.present[name].any() for name in store.names if name != "rgb")


def test_whoever_sees_all_gets_all_and_is_told_what_was_dropped(store: ClipStore) -> None:
    options: dict[str, Any] = {"augment": True, "scenario": IndependentDropout(0.5)}
    dropped = list(EpochLoader(store, 3, 5, 1, **options))
    told = list(EpochLoader(store, 3, 5, 1, sees_all=True, **options))
    complete = list(EpochLoader(store, 3, 5, 1, augment=True))
    for few, many, whole in zip(dropped, told, complete, strict=True):
        for name, flags in whole.present.items():
            assert torch.equal(many.present[name], few.present[name]) and torch.equal(many.batch.present[name], flags)
            assert torch.equal(many.batch.data[name][flags], whole.batch.data[name][flags])


def test_a_modality_is_the_same_whichever_others_are_asked_for(store: ClipStore, tmp_path: Path) -> None:
    stream = StreamStore(tmp_path / "stream", store.segments, store.modalities)
    stream.write()
    augmentation = Augmentation.draw(2, 11)
    whole = store.batch([0, 1], augmentation)
    for some in (store, stream):
        part = some.batch([0, 1], augmentation, ["imu"])
        assert list(part.data) == ["imu"] and set(part.present) == set(whole.present)
        assert torch.equal(part.data["imu"], whole.data["imu"])


def test_streaming_opens_no_file_of_a_modality_that_is_not_asked_for(store: ClipStore, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"garbage" * 100)
    segment = replace(store.segments[0], sources={"rgb": garbage, "imu": store.segments[0].sources["imu"]})
    stream = StreamStore(tmp_path / "out", [segment], store.modalities)
    stream.write()
    assert stream.batch([0], None, ["imu"]).present["imu"].all()
    assert stream.failures() == []


def test_a_segment_that_breaks_or_hangs_while_streaming_is_absent_and_named(store: ClipStore, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"garbage" * 100)
    segments = [replace(store.segments[0], sources={"rgb": garbage, "imu": store.segments[0].sources["imu"]}), store.segments[1]]
    stream = StreamStore(tmp_path / "out", segments, store.modalities)
    stream.write()
    batch = stream.batch([0, 1], None)
    assert batch.present["rgb"].tolist() == [False, True] and batch.present["imu"].all()
    assert [row[:2] for row in stream.failures()] == [[segments[0].name, "rgb"]]

    class Hanging:
        spec = store.modalities["imu"].spec

        def read(self, *_: object) -> None:
            time.sleep(30)

    began = time.perf_counter()
    reading = read_in_time(segments[1], {"imu": Hanging()}, seconds=0.2)
    assert time.perf_counter() - began < 10
    assert "reading took longer than 0.2 s" in reading.failures["imu"] and ".csv" in reading.failures["imu"]
