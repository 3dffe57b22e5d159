"""What is installed here of all that karmma can use, found by loading it: `karmma env`, for bug reports and for setting up a robot."""

from __future__ import annotations

import importlib
import platform
import re
from collections.abc import Callable
from importlib.metadata import requires
from typing import Any

from ..machine import (
    cameras,
    instruction_sets,
    package_version,
    processor_name,
    sound_cards,
    usable_cores,
    usable_memory_bytes,
)
from ..media.codecs import media_support, words_of
from ..plugins import DATA_SET, MODALITY, load_plugin, plugin_names
from ..types import KarmmaError

Facts = dict[str, Any]
FINE = {"ok", "missing", "untried"}


def environment() -> Facts:
    """`karmma`, `machine`, `media`, `engines`, `extras` and `plugins`, each a mapping that JSON can hold.

    Engines are `{"version": …, facts}` where they load, `{"missing": what to install}` where they are not there and
    `{"broken": the error's own words}` where they are and do not load. Plugins, by what they bring, are `ok` or their error's words.
    """
    return {
        "karmma": {"version": package_version("karmma"), "python": platform.python_version(), "platform": platform.platform()},
        "machine": {
            "processor": processor_name(), "usable_cores": usable_cores(), "instruction_sets": list(instruction_sets()),
            "usable_memory_bytes": usable_memory_bytes(), "cameras": cameras(), "sound_cards": sound_cards(),
        },
        "media": media_support(),
        "engines": {name: loaded(name, hint, describe) for name, (hint, describe) in ENGINES.items()},
        "extras": {extra: {name: package_version(name) for name in names} for extra, names in extras().items()},
        "plugins": {name: tried(group, name) for group in (MODALITY, DATA_SET) for name in plugin_names(group)},
    }  # fmt: skip


def is_broken(facts: Facts) -> bool:
    """Whether something that is installed does not work: an engine or a plugin that does not load, a codec that gives an error."""
    codecs = [*facts["media"]["read"].values(), *facts["media"]["written"].values()]
    return any("broken" in engine for engine in facts["engines"].values()) or not {*codecs, *facts["plugins"].values()} <= FINE


def loaded(name: str, hint: str, describe: Callable[[Any], Facts]) -> Facts:
    """An engine's version and what it says of itself, or why there is none."""
    try:
        module = importlib.import_module(name)
        own = getattr(module, "__version__", None)  # onnxruntime may have come as onnxruntime-gpu
        return {"version": str(own or package_version(name)), **describe(module)}
    except ModuleNotFoundError as error:
        return {"missing": hint} if error.name == name else {"broken": words_of(error)}
    except (ImportError, OSError, RuntimeError) as error:  # a library that a package needs, another processor, a driver
        return {"broken": words_of(error)}


def tried(group: str, name: str) -> str:
    try:
        load_plugin(group, name)
    except KarmmaError as error:
        return str(error)
    return "ok"


def describe_torch(torch: Any) -> Facts:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"threads": torch.get_num_threads(), "kernels": torch.backends.cpu.get_cpu_capability(), "gpus": gpus}


def describe_openvino(openvino: Any) -> Facts:
    from .engines import openvino_core

    core = openvino_core()
    return {"devices": list(core.available_devices), "precisions": sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))}


def describe_onnxruntime(onnxruntime: Any) -> Facts:
    return {"providers": list(onnxruntime.get_available_providers())}


ENGINES: dict[str, tuple[str, Callable[[Any], Facts]]] = {
    "torch": ("pip install 'karmma[train]'", describe_torch),
    "openvino": ("pip install 'karmma[runtime]'", describe_openvino),
    "onnxruntime": ("pip install onnxruntime", describe_onnxruntime),
}  # fmt: skip


def extras() -> dict[str, list[str]]:
    """Packages by extra of karmma's own metadata, none without it; what every installation has stands under an empty name."""
    found: dict[str, list[str]] = {}
    for requirement in (requires("karmma") if package_version("karmma") else None) or []:
        package = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if package is not None and package[0] != "karmma":
            found.setdefault(extra[1] if extra else "", []).append(package[0])
    return found


def lines_of(facts: Facts) -> list[str]:
    """`environment()` as plain text that can be pasted: what works on one line, what does not on lines of its own."""
    machine, media = facts["machine"], facts["media"]
    memory = machine["usable_memory_bytes"]
    lines = [
        "karmma {version}, Python {python}, {platform}".format(**facts["karmma"]),
        f"{machine['processor']}, {machine['usable_cores']} cores, {', '.join(machine['instruction_sets']) or 'extensions unknown'}"
        + (f", {memory / 2**30:.1f} GiB" if memory else ""),
        f"PyAV {media['version']}, " + ", ".join(f"{name} {number}" for name, number in media["libraries"].items()),
    ]
    for purpose in ("read", "written"):
        lines += trials_as_lines(purpose, media[purpose])
    lines += trials_as_lines("live", {name: "ok" if there else "missing" for name, there in media["live"].items()})
    for kind in ("cameras", "sound_cards"):
        devices = ", ".join(f"{address} ({name})" for address, name in machine[kind].items())
        lines.append(f"{kind.replace('_', ' '):12} {devices or 'none'}")
    for name, engine in facts["engines"].items():
        lines.append(f"{name:12} " + "; ".join(f"{key} {text_of(value)}" for key, value in engine.items()))
    if facts["plugins"]:
        lines += trials_as_lines("plugins", facts["plugins"])
    for extra, packages in facts["extras"].items():
        there = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
        absent = ", ".join(name for name, number in packages.items() if not number)
        lines.append(f"{extra or 'always':12} " + "; ".join(filter(None, (there, absent and f"missing {absent}"))))
    return lines


def trials_as_lines(purpose: str, trials: dict[str, str]) -> list[str]:
    """What is ok on the first line, what is missing behind it, and a line for whatever else came out."""
    by_outcome = {
        outcome: [name for name, found in trials.items() if found == outcome] for outcome in ("ok", "missing", "untried")
    }
    parts = [f"{'' if outcome == 'ok' else outcome + ' '}{', '.join(names)}" for outcome, names in by_outcome.items() if names]
    others = [f"{'':12} {name}: {words}" for name, words in trials.items() if words not in by_outcome]
    return [f"{purpose:12} {'; '.join(parts)}", *others]


def text_of(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
