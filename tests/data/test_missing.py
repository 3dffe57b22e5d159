"""Who is absent: the samplers keep their promises."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from karmma.config import MethodConfig
from karmma.data.missing import (
    Complete,
    IndependentDropout,
    KeepSome,
    ObservationLevel,
    PublishedMask,
    Subset,
    UniformSubsets,
    WeightedSubsets,
    read_mask,
    training_scenario,
)  # fmt: skip
from karmma.types import KarmmaError

NAMES = ("rgb", "flow", "audio")
availability = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30)
weighted = st.fixed_dictionaries(
    {"others": st.floats(0.1, 9)}, optional={"flow": st.floats(0, 9), "audio+rgb": st.floats(0, 9)}
).map(WeightedSubsets)
scenarios = st.one_of(
    st.floats(0, 1).map(IndependentDropout), st.just(UniformSubsets()), st.just(Complete()), weighted,
)  # fmt: skip


@given(rows=availability, scenario=scenarios, seed=st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_presence_never_exceeds_availability_and_never_empties_a_sample(rows, scenario, seed) -> None:  # type: ignore[no-untyped-def]
    available = torch.tensor(rows)
    present = scenario.presence(available, NAMES, torch.Generator().manual_seed(seed))
    assert present.dtype == torch.bool
    assert not (present & ~available).any()
    assert torch.equal(present.any(1), available.any(1))


def exact_mixture(rate: float) -> dict[tuple[bool, ...], float]:
    """Probability of every presence under the paper's rule, by enumeration."""
    chances: dict[tuple[bool, ...], float] = {}
    for kept in product((False, True), repeat=3):
        chance = 1.0
        for flag in kept:
            chance *= (1 - rate) if flag else rate
        outcomes = [kept] if any(kept) else [tuple(i == one for i in range(3)) for one in range(3)]
        for outcome in outcomes:
            chances[outcome] = chances.get(outcome, 0.0) + chance / len(outcomes)
    return chances


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7, 1.0])
def test_independent_dropout_has_the_papers_distribution(rate: float) -> None:
    draws = 40_000
    present = IndependentDropout(rate).presence(
        torch.ones(draws, 3, dtype=torch.bool), NAMES, torch.Generator().manual_seed(1)
    )
    for outcome, chance in exact_mixture(rate).items():
        share = float((present == torch.tensor(outcome)).all(1).float().mean())
        assert share == pytest.approx(chance, abs=4 * (chance * (1 - chance) / draws) ** 0.5 + 1e-9)


def test_uniform_subsets_are_uniform() -> None:
    draws = 35_000
    present = UniformSubsets().presence(torch.ones(draws, 3, dtype=torch.bool), NAMES, torch.Generator().manual_seed(1))
    codes = (present.long() * torch.tensor([1, 2, 4])).sum(1)
    shares = torch.bincount(codes, minlength=8) / draws
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], torch.full((7,), 1 / 7), atol=0.008, rtol=0)


def test_weighted_subsets_are_drawn_by_weight_among_what_a_sample_has() -> None:
    scenario, draws = WeightedSubsets({"audio": 3, "audio+rgb": 2, "others": 0, "rgb+flow+audio": 1}), 30_000
    generator = torch.Generator().manual_seed(1)
    present = scenario.presence(torch.ones(draws, 3, dtype=torch.bool), NAMES, generator)
    shares = torch.bincount((present.long() * torch.tensor([1, 2, 4])).sum(1), minlength=8) / draws
    torch.testing.assert_close(shares, torch.tensor([0, 0, 0, 0, 3, 2, 0, 1]) / 6, atol=0.01, rtol=0)
    without_rgb = torch.tensor([False, True, True]).expand(50, 3)
    assert scenario.presence(without_rgb, NAMES, generator).tolist() == [[False, False, True]] * 50
    flow_alone = torch.tensor([[False, True, False]])
    assert scenario.presence(flow_alone, NAMES, generator).tolist() == flow_alone.tolist()  # weighs nothing: kept as it is


def test_equal_weights_are_uniform() -> None:
    present = WeightedSubsets({"others": 2}).presence(
        torch.ones(35_000, 3, dtype=torch.bool), NAMES, torch.Generator().manual_seed(1)
    )
    shares = torch.bincount((present.long() * torch.tensor([1, 2, 4])).sum(1), minlength=8) / 35_000
    torch.testing.assert_close(shares[1:], torch.full((7,), 1 / 7), atol=0.008, rtol=0)


def test_subset_keeps_only_what_is_named_and_there() -> None:
    available = torch.tensor([[True, True, False], [False, True, True]])
    present = Subset(("rgb", "audio")).presence(available, NAMES, torch.Generator())
    assert present.tolist() == [[True, False, False], [False, False, True]]
    with pytest.raises(KarmmaError, match="allowed are non-empty subsets of rgb, flow, audio"):
        Subset(("sonar",)).presence(available, NAMES, torch.Generator())
    with pytest.raises(KarmmaError, match="non-empty"):
        Subset(()).presence(available, NAMES, torch.Generator())


def test_training_scenario_follows_the_recipe() -> None:
    assert training_scenario(MethodConfig()) == Complete()
    assert training_scenario(MethodConfig(dropout=0.3)) == IndependentDropout(0.3)
    assert training_scenario(MethodConfig(subsets="uniform")) == UniformSubsets()
    assert training_scenario(MethodConfig(subsets="uniform", subset_weights={"rgb": 2.0})) == WeightedSubsets({"rgb": 2.0})
    with pytest.raises(KarmmaError, match="0–1"):
        IndependentDropout(1.2)


@given(rows=availability, count=st.integers(1, 4), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_unaligned_training_keeps_as_many_as_it_says(rows, count, seed) -> None:  # type: ignore[no-untyped-def]
    available = torch.tensor(rows)
    kept = KeepSome(count).presence(available, NAMES, torch.Generator().manual_seed(seed))
    assert not (kept & ~available).any()
    assert torch.equal(kept.sum(1), available.sum(1).clamp(max=count))


def test_observation_levels_take_exactly_their_share_and_are_nested() -> None:
    available = torch.ones(40, 3, dtype=torch.bool)
    levels = [
        ObservationLevel(("audio",), share).presence(available, NAMES, torch.Generator().manual_seed(3))
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert [int((~level[:, 2]).sum()) for level in levels] == [0, 10, 20, 30, 40]
    assert all(bool(level[:, :2].all()) for level in levels)
    for less, more in pairwise(levels):
        assert not (more & ~less).any()
    with pytest.raises(KarmmaError, match="allowed are rgb, flow, audio"):
        ObservationLevel(("imu",), 0.5).presence(available, NAMES, torch.Generator())
    with pytest.raises(KarmmaError, match="must lie in 0–1"):
        ObservationLevel(("audio",), 1.5)


def test_a_published_mask_speaks_of_samples_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mask.csv"
    path.write_text(
        "video_id,duration_sec,sample_clip,has_audio,has_video,view_id\na,1,0,True,False,0\nb,1,0,False,True,0\n"
    )
    mask = read_mask(path, ["b", "a"], NAMES)
    assert mask.keep.tolist() == [[True, True, False], [False, False, True]]
    assert mask.presence(torch.tensor([[True, False, True], [True, True, True]]), NAMES, torch.Generator()).tolist() == [
        [True, False, False], [False, False, True],
    ]  # fmt: skip
    with pytest.raises(KarmmaError, match=r"mask.csv: no row for 'c' \(1 of 2 samples\)"):
        read_mask(path, ["a", "c"], NAMES)
    with pytest.raises(KarmmaError, match="mask for"):
        mask.presence(torch.ones(3, 3, dtype=torch.bool), NAMES, torch.Generator())


def test_of_several_views_in_a_mask_a_sample_has_what_any_of_them_has(tmp_path: Path) -> None:
    """The authors' files for adaptation: view 0 erases the video, 1 the audio, 2 nothing; in whichever order."""
    views = ["a,1,0,0,True,False", "a,1,0,1,False,False", "a,1,0,2,True,False"]
    views += ["b,1,0,0,True,False", "b,1,0,1,False,True", "b,1,0,2,True,True"]
    for number, rows in enumerate((views, views[::-1])):
        path = tmp_path / f"{number}.csv"
        path.write_text("\n".join(["video_id,duration_sec,sample_clip,view_id,has_audio,has_video", *rows]))
        assert read_mask(path, ["a", "b"], NAMES).keep.tolist() == [[False, False, True], [True, True, True]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("video_id,has_audio\na,True\n", "no column 'has_video'"),
        ("video_id,has_audio,has_video\na,yes,True\n", "line 2: has_audio 'yes' is neither True nor False"),
    ],
)
def test_bad_masks_are_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "mask.csv").write_text(content)
    with pytest.raises(KarmmaError, match=words):
        read_mask(tmp_path / "mask.csv", ["a"], NAMES)
    with pytest.raises(KarmmaError, match="No such file"):
        read_mask(tmp_path / "none.csv", ["a"], NAMES)


MASKS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "epic100" / "missing_masks"


@pytest.mark.skipif(not MASKS.is_dir(), reason="the published masks do not lie beside this checkout")
def test_the_published_masks_of_half_and_all() -> None:
    import csv

    for name, column in (("video", 0), ("audio", 2)):
        for share in ("0.5", "1.0"):
            path = MASKS / f"EPIC_test_clips_singleview_{share}_{name}.csv"
            with path.open() as file:
                samples = [row["video_id"] for row in csv.DictReader(file)]
            mask: PublishedMask = read_mask(path, samples, NAMES)
            assert float((~mask.keep[:, column]).float().mean()) == pytest.approx(float(share), abs=0.01)
            assert bool(mask.keep[:, 2 - column].all())
