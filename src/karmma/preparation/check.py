"""`karmma check`: every file of a data set looked at, every segment against the file it lies in, classes and splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.manifest import Manifest, Segment
from ..data.splits import doubt_splits
from ..files import write_csv
from ..media.containers import MediaError
from ..media.inspection import FileReport, inspect_file
from ..media.members import TarMember
from ..media.pictures import PictureSequence, doubt_pictures, length_of_pictures, list_pictures
from ..modalities.depth import Depth
from ..types import kind_of
from ..workers import count_workers, worker_pool
from .clock_check import ClockReport, clock_facts, compare_clocks, find_pairs

BEYOND_SECONDS = 0.5  # how far a segment may reach beyond the end of its file
OnDone = Callable[[int, int], None]


@dataclass(frozen=True)
class Check:
    """Reports of all files, what is wrong with segments: (segment, file, words), and what speaks against classes and splits."""

    files: list[FileReport]
    segments: list[tuple[str, str, str]]
    counts: dict[str, Any]
    doubts: list[str] = field(default_factory=list)

    @property
    def errors(self) -> int:
        return sum(bool(report.errors) for report in self.files) + len(self.segments)

    @property
    def warnings(self) -> int:
        return sum(bool(report.warnings) for report in self.files) + len(self.doubts)

    def as_json(self) -> dict[str, Any]:
        return {
            "counts": self.counts, "errors": self.errors, "warnings": self.warnings,
            "files": [
                {"path": str(report.path), "modalities": report.modalities, **report.facts, "errors": report.errors,
                 "warnings": report.warnings} for report in self.files
            ],
            "segments": [{"segment": name, "path": path, "error": words} for name, path, words in self.segments],
            "doubts": self.doubts,
        }  # fmt: skip

    def write_csv(self, path: Path) -> None:
        """One row per file."""
        keys = list(dict.fromkeys(key for report in self.files for key in report.facts))
        rows = (
            [report.path, "+".join(report.modalities), *(report.facts.get(key, "") for key in keys),
             "; ".join(report.errors), "; ".join(report.warnings)]
            for report in self.files
        )  # fmt: skip
        write_csv(path, ["path", "modalities", *keys, "errors", "warnings"], rows)


def check_manifest(manifest: Manifest, workers: int = 0, on_done: OnDone | None = None) -> Check:
    """Look at every file once, and at the clocks of those that belong together, in worker processes; and at classes and splits."""
    segments = [segment for split in manifest.splits.values() for segment in split]
    wanted: dict[Path | PictureSequence, dict[str, None]] = {}
    for segment in segments:
        for name, source in segment.sources.items():
            if isinstance(source, TarMember):
                continue
            if not isinstance(source, Path) or source.exists() or kind_of(name) in ("rgb", "audio"):
                wanted.setdefault(source, {})[name] = None
    absent = {source for source in wanted if isinstance(source, Path) and not source.exists()}
    jobs = [(source, tuple(names)) for source, names in wanted.items() if source not in absent]
    reports: list[FileReport] = []
    pairs = find_pairs(segments)
    with worker_pool(count_workers(workers, len(jobs))) as pool:
        for report in pool.map(inspect_source, jobs):
            reports.append(report)
            if on_done:
                on_done(len(reports), len(jobs) + len(pairs))
        clocks: dict[Path, list[ClockReport]] = {}
        for number, clock in enumerate(pool.map(compare_clocks, pairs), len(jobs) + 1):
            clocks.setdefault(clock.pair.table, []).append(clock)
            if on_done:
                on_done(number, len(jobs) + len(pairs))
    by_path = {report.path: report for report in reports}
    for table, found in clocks.items():
        by_path[table].facts |= clock_facts(found)
        by_path[table].warnings += [words for report in found for words in report.warnings]
    reports += [FileReport(source, tuple(wanted[source]), errors=["no such file"]) for source in absent if isinstance(source, Path)]
    by_path = {report.path: report for report in reports}
    bad = [complaint for segment in segments for complaint in check_segment(segment, by_path)]
    counts = {
        "splits": {name: len(split) for name, split in manifest.splits.items()}, "files": len(reports),
        **{key: value for key, value in manifest.provenance.items() if "missing" in key or "without" in key},
    }  # fmt: skip
    return Check(sorted(reports, key=lambda report: str(report.path)), bad, counts, doubt_splits(manifest))


def inspect_source(job: tuple[Path | PictureSequence, tuple[str, ...]]) -> FileReport:
    """Runs in a worker."""
    source, names = job
    if isinstance(source, Path):
        return with_doubts(inspect_file(source, names))
    report = FileReport(source.path, names)
    try:
        numbers, doubt = list_pictures(source.path, source.part).numbers, doubt_pictures(source)
    except MediaError as error:
        report.errors.append(str(error).removeprefix(f"{source.path}: "))
        return report
    report.warnings += filter(None, [doubt])
    report.facts |= {"pictures": len(numbers), "frames_hz": source.frames_hz, "seconds": round(length_of_pictures(source), 3)}
    gaps = int(numbers[-1] - numbers[0]) + 1 - len(numbers)
    if gaps:
        report.errors.append(f"{gaps} pictures are missing between {numbers[0]} and {numbers[-1]}")
    return report


def with_doubts(report: FileReport) -> FileReport:
    """A report with what speaks against depth, whose shape and unit its modality knows."""
    if "depth" in report.kinds and not report.errors:
        try:
            report.warnings += filter(None, [Depth().doubt(report.path)])
        except MediaError as error:
            report.errors.append(str(error).removeprefix(f"{report.path}: "))
    return report


def check_segment(segment: Segment, reports: Mapping[Path, FileReport]) -> Sequence[tuple[str, str, str]]:
    """Whether a segment lies within the video or sound it is cut from."""
    complaints = []
    for path in {source if isinstance(source, Path) else source.path for source in segment.sources.values()}:
        report = reports.get(path)
        facts = report.facts if report is not None else {}
        length = facts.get("decodable_seconds", facts.get("seconds"))
        media = "codec" in facts or "audio_codec" in facts or "pictures" in facts
        if media and length and segment.stop_seconds != float("inf") and segment.stop_seconds > length + BEYOND_SECONDS:
            words = f"{segment.start_seconds:.2f}–{segment.stop_seconds:.2f} s reach beyond the end at {length:.2f} s"
            complaints.append((segment.name, str(path), words))
    return complaints
