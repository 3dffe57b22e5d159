"""A directory as large as the whole of UTD-MHAD, to time recipes/utd_mhad.yaml as its owner runs it: links to the trials of the
training subjects, and the same once more under the names of the test subjects, whom nobody here has read.

python benchmarks/stand_in_utd.py UTD_ROOT TARGET; accuracy measured on it means nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from karmma.datasets.utd_mhad import UtdMhadConfig, find_trials

STANDS_IN = dict(zip(UtdMhadConfig().test_subjects, UtdMhadConfig().train_subjects, strict=True))


def link_trials(root: Path, target: Path) -> int:
    """Link every file of the training subjects twice; returns how many links there are."""
    count = 0
    for (action, subject, repetition), sources in find_trials(root).items():
        for name in (subject, *(other for other, own in STANDS_IN.items() if own == subject)):
            for source in sources.values():
                kind = source.stem.rsplit("_", 1)[1]
                link = target / source.parent.name / f"a{action}_s{name}_t{repetition}_{kind}.mat"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(source.resolve())
                count += 1
    return count


if __name__ == "__main__":
    print(link_trials(Path(sys.argv[1]), Path(sys.argv[2])), "links")
