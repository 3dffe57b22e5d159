"""Where a result comes from: versions, machine, git commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from ..machine import package_version, processor_name

PACKAGES = ("karmma", "torch", "lightning", "numpy", "av", "opencv-python-headless")


def git_commit() -> str | None:
    """The commit of the checkout this code runs from, with `+` if it has changes; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]  # of the whole package
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=here, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.strip() else "")


def package_versions() -> dict[str, str]:
    installed = {name: package_version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **{name: number for name, number in installed.items() if number}}


def machine() -> dict[str, Any]:
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    return {"processor": processor_name(), "cores": os.cpu_count(), "device": device}


def provenance() -> dict[str, Any]:
    return {"versions": package_versions(), "git_commit": git_commit(), "machine": machine()}
