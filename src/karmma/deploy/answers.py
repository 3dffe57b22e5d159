"""Predictions as rows: JSON, CSV, or lines for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..types import Prediction


def prediction_row(prediction: Prediction, top: int, file: str = "") -> dict[str, Any]:
    """One prediction as JSON: seconds, top classes with probabilities per label set, modalities used, broken, and doubted."""
    heads = {
        head: {entry.name: round(entry.probability, 4) for entry in ranked[:top]} for head, ranked in prediction.ranked.items()
    }
    seconds = {"start_seconds": round(prediction.start_seconds, 3), "stop_seconds": round(prediction.stop_seconds, 3)}
    row = {**({"file": file} if file else {}), **seconds, **heads, "modalities": list(prediction.modalities)}
    amiss = {"unreadable": prediction.unreadable, "doubted": prediction.doubted}
    return row | {key: dict(words) for key, words in amiss.items() if words}


@dataclass
class AnswerLines:
    """Lines of predictions of one or `several` recordings: for people (`text`), JSON Lines (`json`), CSV with a header (`csv`)."""

    how: str
    top: int
    several: bool
    last_file: str | None = None
    told: set[tuple[str, str, str]] = field(default_factory=set)

    def amiss(self, file: str, prediction: Prediction) -> Iterator[str]:
        """A line for each sensor of a recording that could not be read, or that is doubted, once."""
        for start, found in (("going on without {}", prediction.unreadable), ("{} is doubtful", prediction.doubted)):
            for name, words in found.items():
                if (file, name, start) not in self.told:
                    self.told.add((file, name, start))
                    yield f"karmma: {file}: {start.format(name)}: {words}"

    def of(self, file: str, prediction: Prediction) -> Iterator[str]:
        """The lines of one prediction; before the first of all a header, before the first of a file its name."""
        first, new_file = self.last_file is None, file != self.last_file
        self.last_file = file
        if self.how == "json":
            yield json.dumps(prediction_row(prediction, self.top, file if self.several else ""))
        elif self.how == "csv":
            if first:
                yield csv_text(csv_header(list(prediction.ranked), self.top))
            yield csv_text(csv_cells(prediction, self.top, file))
        else:
            if self.several and new_file:
                yield file
            yield from text_lines(prediction, self.top)


def text_lines(prediction: Prediction, top: int) -> Iterator[str]:
    yield f"{prediction.start_seconds:.2f}–{prediction.stop_seconds:.2f} s, from {' + '.join(prediction.modalities)}"
    for head, ranked in prediction.ranked.items():
        yield f"  {head:<8}" + "   ".join(f"{entry.name} {100 * entry.probability:.0f} %" for entry in ranked[:top])


def csv_header(heads: Sequence[str], top: int) -> list[str]:
    ranks = [f"{head}_{place}{what}" for head in heads for place in range(1, top + 1) for what in ("", "_probability")]
    return ["file", "start_seconds", "stop_seconds", *ranks, "modalities"]


def csv_cells(prediction: Prediction, top: int, file: str) -> list[Any]:
    """Top classes with probabilities side by side."""
    cells: list[Any] = [file, f"{prediction.start_seconds:.3f}", f"{prediction.stop_seconds:.3f}"]
    for ranked in prediction.ranked.values():
        for place in range(top):
            cells += [ranked[place].name, f"{ranked[place].probability:.4f}"] if place < len(ranked) else ["", ""]
    return [*cells, "+".join(prediction.modalities)]


def csv_text(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
