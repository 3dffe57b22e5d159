"""The machine that this runs on: processor, instruction sets, memory, cameras, sound cards, packages. Knows no torch."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
CAMERAS, SOUND_CARDS = Path("/sys/class/video4linux"), Path("/proc/asound/cards")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
TELLING = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx512_bf16": "AVX-512 BF16", "amx_tile": "AMX",
    "asimd": "NEON",
}  # fmt: skip


def processor_name() -> str:
    """The processor's own name for itself, where the system tells it."""
    return cpu_fact("model name") or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """Those vector and matrix extensions that decide how fast a student runs; empty where the system does not tell."""
    flags = set((cpu_fact("flags") or cpu_fact("Features")).split())
    return tuple(title for flag, title in TELLING.items() if flag in flags)


def cpu_fact(key: str) -> str:
    """What Linux says of its first processor; an empty string elsewhere."""
    if not CPUINFO.exists():
        return ""
    found = (line.split(":", 1) for line in CPUINFO.read_text().splitlines() if ":" in line)
    return next((value.strip() for name, value in found if name.strip() == key), "")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_bytes() -> int | None:
    """Memory of the machine, or of its container where that has less; None where the system does not tell."""
    found = [int(text) for text in (path.read_text().strip() for path in LIMITS if path.exists()) if text.isdigit()]
    if MEMINFO.exists():
        found.append(int(MEMINFO.read_text().split("MemTotal:", 1)[1].split()[0]) * 1024)
    return min(found, default=None)


def cameras() -> dict[str, str]:
    """Video devices by the path that opens them, with their own names; none where there is no Video4Linux."""
    devices = sorted(CAMERAS.iterdir(), key=lambda path: (len(path.name), path.name)) if CAMERAS.exists() else []
    return {f"/dev/{path.name}": (path / "name").read_text().strip() for path in devices if (path / "name").exists()}


def sound_cards() -> dict[str, str]:
    """Sound cards by ALSA's names for them, with what they are; none where there is no ALSA."""
    text = SOUND_CARDS.read_text() if SOUND_CARDS.exists() else ""
    found = re.findall(r"^\s*\d+ \[(\S+)\s*\]: (.*)$", text, re.M)
    return {f"alsa:default:CARD={name}": description.strip() for name, description in found}


def package_version(name: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
