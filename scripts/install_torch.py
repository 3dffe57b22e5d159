"""Install PyTorch into this environment without CUDA packages where there is no GPU.

On Linux PyPI's default build of torch brings gigabytes of CUDA. So ask pip what it would install; if that includes CUDA
packages and no NVIDIA driver is here, take the same version from PyTorch's own index of CPU builds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

REQUIREMENT = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def planned_packages() -> list[str]:
    """Names of what pip would install for torch from the configured sources."""
    report = json.loads(pip("install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-", REQUIREMENT))
    return [entry["metadata"]["name"].lower() for entry in report["install"]]


def main() -> None:
    if find_spec("torch") is not None:
        return
    if shutil.which("nvidia-smi") is None and any(name.startswith(("nvidia", "cuda")) for name in planned_packages()):
        pip("install", "--quiet", REQUIREMENT, "--index-url", CPU_INDEX)
    else:
        pip("install", "--quiet", REQUIREMENT)


if __name__ == "__main__":
    main()
