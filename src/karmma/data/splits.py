"""What speaks against the splits and classes of a data set before anything is trained on it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from .manifest import Manifest, Segment

TRAIN, TESTED = "train", ("validation", "test")
NAMED = 5  # of many classes


def doubt_splits(manifest: Manifest) -> list[str]:
    """A line for each doubt: classes that differ in spelling alone, that are never learnt, clips that are tested and learnt from."""
    return [*alike_classes(manifest), *unlearnt_classes(manifest), *shared_moments(manifest)]


def alike_classes(manifest: Manifest) -> list[str]:
    """Of each label set the first classes that are one word but for case, spaces, hyphens and underscores."""
    doubts = []
    for head, names in manifest.labels.names.items():
        spelt: dict[str, list[str]] = {}
        for name in names:
            spelt.setdefault("".join(part for part in name.casefold() if part not in " -_"), []).append(name)
        alike = [" and ".join(map(repr, group)) for group in spelt.values() if len(group) > 1]
        if alike:
            doubts.append(f"classes of {head} that differ in spelling alone: {listed(alike)}")
    return doubts


def unlearnt_classes(manifest: Manifest) -> list[str]:
    """Of each label set and tested split the classes that no clip of train has."""
    doubts = []
    for head, names in manifest.labels.names.items():
        learnt = {segment.labels[head] for segment in manifest.splits.get(TRAIN, ()) if head in segment.labels}
        for split in TESTED if learnt else ():
            segments = manifest.splits.get(split, ())
            counts = Counter(segment.labels[head] for segment in segments if head in segment.labels)
            unlearnt = [label for label in sorted(counts) if label not in learnt]
            if unlearnt:
                clips, which = sum(counts[label] for label in unlearnt), listed(names[label] for label in unlearnt)
                doubts.append(f"{clips} of {len(segments)} clips of {split} have a {head} that no clip of train has: {which}")
    return doubts


def shared_moments(manifest: Manifest) -> list[str]:
    """Of each tested split how many clips overlap clips of train in the same file, so that what is learnt by heart is tested."""
    learnt: dict[str, list[tuple[float, float]]] = {}
    for segment in sorted(manifest.splits.get(TRAIN, ()), key=lambda one: one.start_seconds):
        spans = learnt.setdefault(file_of(segment), [])
        if spans and segment.start_seconds < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], segment.stop_seconds))
        else:
            spans.append((segment.start_seconds, segment.stop_seconds))
    doubts = []
    for split in TESTED:
        segments = manifest.splits.get(split, ())
        shared = [segment for segment in segments if overlaps(segment, learnt.get(file_of(segment), []))]
        if shared:
            which = f"first {shared[0].name}"
            doubts.append(f"{len(shared)} of {len(segments)} clips of {split} overlap clips of train in the same file; {which}")
    return doubts


def file_of(segment: Segment) -> str:
    """The film, or the first other file, that tells a recording from others; a clip without any is one of its own."""
    return str(segment.sources.get("rgb") or next(iter(segment.sources.values()), segment.name))


def overlaps(segment: Segment, spans: Sequence[tuple[float, float]]) -> bool:
    """Whether a segment shares a moment with one of the rising spans, of which no two overlap."""
    place = bisect_right(spans, segment.start_seconds, key=lambda span: span[0])
    before = place > 0 and spans[place - 1][1] > segment.start_seconds
    return before or (place < len(spans) and spans[place][0] < segment.stop_seconds)


def listed(words: Iterable[str]) -> str:
    """The first of many, and how many more."""
    every = list(words)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
