"""Reading media needs no torch: an import hook makes it unimportable in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lightning"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""


def run_without_torch(program: str, *arguments: object) -> str:
    """Output of a Python program that cannot import torch."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + program, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_segments_are_read_without_torch(clock_video: Path) -> None:
    program = """
from pathlib import Path
from karmma.data.manifest import Segment
from karmma.data.reading import read_segment
from karmma.modalities import make_modalities
path = Path(sys.argv[1])
modalities = make_modalities({"rgb": {"frames": 2}, "flow": {"frames": 2}, "audio": {}})
reading = read_segment(Segment("a", "", 0.5, 3.5, {}, dict.fromkeys(modalities, path)), modalities)
print({name: array.shape for name, array in reading.arrays.items()}, "torch" in sys.modules)
"""
    assert "'audio': (64, " in run_without_torch(program, clock_video)


def test_what_needs_torch_says_so() -> None:
    program = """
from karmma.modalities import make_modalities
try:
    make_modalities({"rgb": {}})["rgb"].transform([], None)
except ImportError as error:
    print(error)
"""
    assert "pip install 'karmma[train]'" in run_without_torch(program)
