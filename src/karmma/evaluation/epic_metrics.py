"""EPIC-KITCHENS-100's own figures: `{all,tail,unseen}_{verb,noun,action}_accuracy_at_{1,5}`, equal to its official script.

That script ranks actions among every clip's 100 best verbs times 100 best nouns by the product of softmaxes taken over the
whole array. Both normalisers are the same for all pairs of a clip, so that the sum of scores gives the same order and
cannot underflow. Equal scores are ordered as by that script, an ascending sort read backwards, but alike on every machine:
single classes as `tie_order` says, pairs by a stable sort.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.annotations import read_actions, read_column
from ..files import replacing
from ..types import KarmmaError
from .tie_order import order_ascending

BEST = 100
CHUNK = 256
HEADS = {"verb": 97, "noun": 300}
SUPERVISION = {"sls_pt": 2, "sls_tl": 3, "sls_td": 3}  # pre-training, training labels, training data: levels of a usual model
Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class EpicTruth:
    """Labels of the clips in the order of the scores, and which belong to the tail and to unseen participants."""

    verb: NDArray[np.int64]
    noun: NDArray[np.int64]
    tail_verbs: frozenset[int]
    tail_nouns: frozenset[int]
    unseen: Flags


def read_truth(annotations: Path, narration_ids: Sequence[str], split: str = "validation") -> EpicTruth:
    """Truth for the given clips from the official CSVs. Raises KarmmaError for a clip they do not have."""
    rows = {row.narration_id: row for row in read_actions(annotations / f"EPIC_100_{split}.csv", *HEADS.values())}
    unknown = [name for name in narration_ids if name not in rows]
    if unknown:
        raise KarmmaError(
            f"{annotations}/EPIC_100_{split}.csv: no clip {unknown[0]!r} ({len(unknown)} of the scores' clips)"
        )
    lacking = len(rows) - len(narration_ids)
    if lacking:
        raise KarmmaError(f"scores for {len(narration_ids)} of the {len(rows)} clips of {split}: {lacking} are missing")
    chosen = [rows[name] for name in narration_ids]
    unseen = set(read_column(annotations / f"EPIC_100_unseen_participant_ids_{split}.csv", "participant_id"))
    tails = [read_column(annotations / f"EPIC_100_tail_{head}s.csv", head) for head in HEADS]
    return EpicTruth(
        np.array([row.verb_class for row in chosen]), np.array([row.noun_class for row in chosen]),
        frozenset(map(int, tails[0])), frozenset(map(int, tails[1])),
        np.array([row.participant_id in unseen for row in chosen]),
    )  # fmt: skip


def rank_of(scores: Scores, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes stand before the true one `(samples,)`; scores `(samples, classes)`."""
    own = np.take_along_axis(scores, labels[:, None], 1)
    ranks = (scores > own).sum(1)
    for row in np.flatnonzero((scores == own).sum(1) > 1):
        ranks[row] = np.flatnonzero(order_ascending(scores[row])[::-1] == labels[row])[0]
    return ranks


def best_classes(scores: Scores) -> NDArray[np.int64]:
    """Up to 100 classes per clip, best first."""
    return np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :BEST]


def action_ranks(verb: Scores, noun: Scores, verbs: NDArray[np.int64], nouns: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pairs of best verbs and nouns stand before the true one; more than there are where it is not among them."""
    pieces = [slice(first, first + CHUNK) for first in range(0, len(verb), CHUNK)]
    return np.concatenate([pair_ranks(verb[piece], noun[piece], verbs[piece], nouns[piece]) for piece in pieces])


def pair_ranks(verb: Scores, noun: Scores, verbs: NDArray[np.int64], nouns: NDArray[np.int64]) -> NDArray[np.int64]:
    verb_order, noun_order = best_classes(verb), best_classes(noun)
    sums = np.take_along_axis(verb, verb_order, 1)[:, :, None] + np.take_along_axis(noun, noun_order, 1)[:, None]
    pairs = sums.reshape(len(sums), -1)
    verb_there, noun_there = verb_order == verbs[:, None], noun_order == nouns[:, None]
    place = verb_there.argmax(1) * noun_order.shape[1] + noun_there.argmax(1)
    own = np.take_along_axis(pairs, place[:, None], 1)
    later = np.arange(pairs.shape[1]) > place[:, None]
    ranks = ((pairs > own) | ((pairs == own) & later)).sum(1)
    return np.where(verb_there.any(1) & noun_there.any(1), ranks, pairs.shape[1])


def epic_metrics(scores: Mapping[str, NDArray[np.generic]], truth: EpicTruth) -> dict[str, float | None]:
    """All 18 figures in percent; None where no clip belongs to the group. Tail actions: a tail verb or a tail noun."""
    verb, noun = scores["verb"].astype(np.float64), scores["noun"].astype(np.float64)
    ranks = {
        "verb": rank_of(verb, truth.verb),
        "noun": rank_of(noun, truth.noun),
        "action": action_ranks(verb, noun, truth.verb, truth.noun),
    }
    tail_verb = np.isin(truth.verb, list(truth.tail_verbs))
    tail_noun = np.isin(truth.noun, list(truth.tail_nouns))
    tails = {"verb": tail_verb, "noun": tail_noun, "action": tail_verb | tail_noun}
    result: dict[str, float | None] = {}
    for task, values in ranks.items():
        groups = {"all": np.ones(len(values), bool), "tail": tails[task], "unseen": truth.unseen}
        for group, rows in groups.items():
            for k in (1, 5):
                name = f"{group}_{task}_accuracy_at_{k}"
                result[name] = 100 * float((values[rows] < k).mean()) if rows.any() else None
    return dict(sorted(result.items()))


def read_scores(path: Path) -> dict[str, NDArray[Any]]:
    """`verb` (N×97), `noun` (N×300) and `narration_id` (N) of an .npz. Raises KarmmaError for anything else."""
    if not path.is_file():
        raise KarmmaError(f"scores not found: {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise KarmmaError(f"{path}: not an .npz of plain arrays: {error}") from error
    for name in (*HEADS, "narration_id"):
        if name not in content:
            raise KarmmaError(f"{path}: no array {name!r}; found: {', '.join(content) or 'nothing'}")
    count = len(content["narration_id"])
    if len(set(content["narration_id"].tolist())) != count:
        raise KarmmaError(f"{path}: narration_id names a clip twice")
    for head, classes in HEADS.items():
        if content[head].shape != (count, classes):
            raise KarmmaError(f"{path}: {head} has shape {content[head].shape}, expected ({count}, {classes})")
        if not np.isfinite(content[head]).all():
            raise KarmmaError(f"{path}: {head} holds scores that are not finite")
    return content


def write_submission(
    path: Path, scores: Mapping[str, NDArray[Any]], expected: Sequence[str], supervision: Mapping[str, int] = SUPERVISION
) -> None:
    """The challenge's zip with `test.json`, version 0.2. Raises KarmmaError if the clips are not exactly the expected ones."""
    ids = [str(name) for name in scores["narration_id"].tolist()]
    lacking, surplus = sorted(set(expected) - set(ids)), sorted(set(ids) - set(expected))
    if lacking or surplus:
        example = f"{lacking[0]} is missing" if lacking else f"{surplus[0]} is not a clip of the test set"
        raise KarmmaError(f"scores are for other clips: {len(lacking)} missing, {len(surplus)} unknown; {example}")
    results = {
        name: {
            head: {str(index): float(value) for index, value in enumerate(scores[head][row])} for head in HEADS
        } for row, name in enumerate(ids)
    }  # fmt: skip
    content = {"version": "0.2", "challenge": "action_recognition", **supervision, "results": results}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test.json", json.dumps(content))
