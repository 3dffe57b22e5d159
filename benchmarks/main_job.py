"""Time and memory of the demo, from media files to report: wall seconds per stage and peak memory of all its processes.

python benchmarks/main_job.py [RECIPE] [KEY=VALUE ...]
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recording import RESULTS, write_result

DEMO = Path(__file__).resolve().parents[1] / "recipes" / "demo.yaml"


def memory_of_group(group: int) -> float:
    """Megabytes of proportional set size of all processes of a process group."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rsplit(")", 1)[1].split()[2]) == group:
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, IndexError, ValueError):
            continue
    return total / 1024


def keep_results(run: Path, target: Path) -> None:
    """Copy the run's figures, tables and plots to where results are committed."""
    shutil.rmtree(target, ignore_errors=True)
    for name in ("tables", "plots"):
        shutil.copytree(run / name, target / name)
    shutil.copy(run / "results.json", target)


def main() -> None:
    recipe, overrides = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else (str(DEMO), [])
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "karmma.cli", "run", recipe, "--out", directory, *overrides]
        began = time.perf_counter()
        process = subprocess.Popen(command, start_new_session=True)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory_of_group(process.pid))
            time.sleep(0.5)
        seconds = time.perf_counter() - began
        if process.returncode:
            sys.exit(process.returncode)
        stages = json.loads((Path(directory) / "results.json").read_text())["seconds"]
        keep_results(Path(directory), RESULTS / Path(recipe).stem)
    figures = {
        "recipe": Path(recipe).name,
        "overrides": [re.sub(r"^data\.root=.*", "data.root=…", override) for override in overrides],
        "wall_seconds": round(seconds, 1),
        "peak_megabytes": round(peak),
        "stages": stages,
    }
    write_result(f"main_job_{Path(recipe).stem}", figures)


if __name__ == "__main__":
    main()
