"""EPIC's figures: by hand, against the official script's oracle where it lies, and the submission file."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from karmma.cli import app
from karmma.evaluation.epic_metrics import EpicTruth, action_ranks, epic_metrics, rank_of, read_scores, write_submission
from karmma.types import KarmmaError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "epic100"
needs_epic = pytest.mark.skipif(not REAL.is_dir(), reason="EPIC-100's annotations do not lie beside this checkout")


def write_csv(path: Path, rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def make_scores(count: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    ids = np.array([f"P01_01_{index}" for index in range(count)])
    return {"verb": random.normal(size=(count, 97)), "noun": random.normal(size=(count, 300)), "narration_id": ids}


def test_ranks_count_what_stands_before_the_truth() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [3.0, 2.0, 1.0]])
    assert rank_of(scores, np.array([2, 0])).tolist() == [1, 0]


def test_actions_rank_by_the_sum_among_the_hundred_best() -> None:
    scores = make_scores(7)
    verbs, nouns = np.arange(7) % 97, np.arange(7) * 40
    ranks = action_ranks(scores["verb"], scores["noun"], verbs, nouns)
    for row in range(7):
        best = np.argsort(-scores["noun"][row])[:100]
        if nouns[row] not in best:
            assert ranks[row] == 9700
            continue
        sums = scores["verb"][row][:, None] + scores["noun"][row][best][None]
        assert ranks[row] == (sums > scores["verb"][row][verbs[row]] + scores["noun"][row][nouns[row]]).sum()


def test_huge_scores_do_not_underflow() -> None:
    verb, noun = np.full((1, 97), -5e4), np.full((1, 300), -5e4)
    verb[0, 3], noun[0, 7] = 4e4, 4e4
    assert action_ranks(verb, noun, np.array([3]), np.array([7])).tolist() == [0]


def test_groups_are_tail_classes_and_unseen_participants() -> None:
    scores = {"verb": np.eye(97)[[0, 1, 2]], "noun": np.eye(300)[[0, 1, 0]], "narration_id": np.array(["a", "b", "c"])}
    truth = EpicTruth(
        np.array([0, 1, 2]), np.array([0, 1, 2]), frozenset({2}), frozenset({1}), np.array([False, False, True])
    )  # fmt: skip
    figures = epic_metrics(scores, truth)
    assert len(figures) == 18
    assert figures["all_verb_accuracy_at_1"] == 100 and figures["all_noun_accuracy_at_1"] == pytest.approx(200 / 3)
    assert figures["tail_action_accuracy_at_1"] == 50 and figures["unseen_action_accuracy_at_1"] == 0
    nobody = EpicTruth(truth.verb, truth.noun, frozenset(), frozenset(), np.zeros(3, bool))
    assert epic_metrics(scores, nobody)["tail_verb_accuracy_at_5"] is None


@needs_epic
def test_the_figures_equal_the_official_scripts(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    arguments = ["metrics", "epic", str(REAL / "metric_oracle.npz"), "--annotations", str(REAL), "--json", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    figures, oracle = json.loads(out.read_text()), json.loads((REAL / "metric_oracle.json").read_text())
    assert len(figures) == 18
    for name, value in oracle.items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name


def test_the_submission_holds_every_score(tmp_path: Path) -> None:
    scores = make_scores(3)
    write_submission(tmp_path / "s.zip", scores, scores["narration_id"].tolist())
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        content = json.loads(archive.read("test.json"))
    assert content["version"] == "0.2" and content["challenge"] == "action_recognition"
    assert {"sls_pt", "sls_tl", "sls_td"} < set(content)
    assert content["results"]["P01_01_2"]["noun"]["299"] == pytest.approx(scores["noun"][2, 299])
    assert len(content["results"]["P01_01_0"]["verb"]) == 97


def test_a_submission_for_other_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match=r"1 missing, 0 unknown; P01_01_9 is missing"):
        write_submission(tmp_path / "s.zip", make_scores(2), ["P01_01_0", "P01_01_1", "P01_01_9"])
    with pytest.raises(KarmmaError, match=r"0 missing, 1 unknown; P01_01_1 is not a clip of the test set"):
        write_submission(tmp_path / "s.zip", make_scores(2), ["P01_01_0"])
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verb": np.zeros((2, 96))}, r"verb has shape \(2, 96\), expected \(2, 97\)"),
        ({"noun": np.full((2, 300), np.nan)}, "noun holds scores that are not finite"),
        ({"narration_id": np.array(["a", "a"])}, "names a clip twice"),
    ],
)
def test_bad_scores_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "s.npz", **{**make_scores(2), **change})
    with pytest.raises(KarmmaError, match=words):
        read_scores(tmp_path / "s.npz")


def test_files_that_hold_no_scores_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_bytes(b"no zip")
    with pytest.raises(KarmmaError, match=r"s.npz: not an .npz"):
        read_scores(tmp_path / "s.npz")
    np.savez(tmp_path / "t.npz", verb=np.zeros((1, 97)))
    with pytest.raises(KarmmaError, match="no array 'noun'; found: verb"):
        read_scores(tmp_path / "t.npz")
    with pytest.raises(KarmmaError, match="scores not found"):
        read_scores(tmp_path / "none.npz")


def test_scores_for_part_of_a_split_are_refused(tmp_path: Path) -> None:
    header = ["narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class"]
    clips = [[f"P01_01_{i}", "P01", "P01_01", "00:00:00.0", "00:00:01.0", 0, 0] for i in range(3)]
    write_csv(tmp_path / "EPIC_100_validation.csv", [header, *clips])
    np.savez(tmp_path / "s.npz", **make_scores(2))  # type: ignore[arg-type]
    done = CliRunner().invoke(app, ["metrics", "epic", str(tmp_path / "s.npz"), "--annotations", str(tmp_path)])
    assert isinstance(done.exception, KarmmaError) and "scores for 2 of the 3 clips of validation" in str(done.exception)
