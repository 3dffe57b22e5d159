"""What runs exported graphs: OpenVINO or ONNX Runtime, on the same ONNX files. Neither needs torch."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import KarmmaError

Array = NDArray[Any]
PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
PRECISIONS = ("fp32", "bf16", "int8")


class Graph(Protocol):
    """A loaded graph: arrays in, arrays out, in the order they were exported."""

    def __call__(self, inputs: Sequence[Array]) -> list[Array]: ...


class OnnxRuntimeGraph:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, path: Path, threads: int, precision: str) -> None:
        import onnxruntime

        if precision == "bf16":
            raise KarmmaError("ONNX Runtime has no bf16 on CPUs; take the engine openvino, or precision fp32 or int8")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's own classes are not importable by a stable name
            raise KarmmaError(f"{path}: ONNX Runtime cannot load it: {' '.join(str(error).split())[:300]}") from error
        self.names = [entry.name for entry in self.session.get_inputs()]

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        return [np.asarray(output) for output in self.session.run(None, dict(zip(self.names, inputs, strict=True)))]


@cache
def openvino_core() -> Any:
    """The one Core of this process, kept to its end.

    On CPUs with AMX each Core gives the thread an alternate signal stack and puts the former one back when it goes; Cores
    that go in another order than they came leave a stack that is no longer mapped, and the next signal ends the process
    (seen with OpenVINO 2026.4 and SIGCHLD).
    """
    import openvino

    return openvino.Core()


class OpenVinoGraph:
    """An ONNX file in OpenVINO; bf16 is a way to run the fp32 file."""

    def __init__(self, path: Path, threads: int, precision: str) -> None:
        properties = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }  # fmt: skip
        try:
            core = openvino_core()
            self.compiled = core.compile_model(core.read_model(str(path)), "CPU", properties)
        except RuntimeError as error:
            raise KarmmaError(f"{path}: OpenVINO cannot load it: {' '.join(str(error).split())[:300]}") from error
        self.request = self.compiled.create_infer_request()

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        results = self.request.infer([np.ascontiguousarray(array) for array in inputs], share_inputs=True)
        return [np.array(results[port]) for port in self.compiled.outputs]


GRAPHS: dict[str, Any] = {"openvino": OpenVinoGraph, "onnxruntime": OnnxRuntimeGraph}


def find_engines(name: str, precision: str = "fp32") -> tuple[str, ...]:
    """The engine asked for; for `auto` all that are installed and have the precision. Raises KarmmaError if there is none."""
    if name == "auto":
        found = tuple(engine for engine, package in PACKAGES.items() if importlib.util.find_spec(package) is not None)
        if not found:
            raise KarmmaError("exported models need an engine: pip install 'karmma[runtime]' (OpenVINO), or onnxruntime")
        usable = tuple(engine for engine in found if precision != "bf16" or engine == "openvino")
        if not usable:
            raise KarmmaError("bf16 needs OpenVINO: pip install openvino")
        return usable
    if name not in GRAPHS:
        raise KarmmaError(f"unknown engine {name!r}; known: auto, {', '.join(GRAPHS)}")
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise KarmmaError(f"the engine {name} is not installed: pip install {PACKAGES[name]}")
    return (name,)


def load_fastest(path: Path, engines: Sequence[str], threads: int, precision: str, inputs: Sequence[Array]) -> tuple[Graph, str]:
    """A graph in the engine that runs it fastest here: which one that is depends on the network's size and on the CPU."""
    graphs = {engine: load_graph(path, engine, threads, precision) for engine in engines}
    if len(graphs) == 1:
        return graphs[engines[0]], engines[0]
    times = {engine: shortest_seconds(graph, inputs) for engine, graph in graphs.items()}
    best = min(times, key=times.__getitem__)
    return graphs[best], best


def shortest_seconds(graph: Graph, inputs: Sequence[Array], runs: int = 4) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        graph(inputs)
        times.append(time.perf_counter() - started)
    return min(times)


def load_graph(path: Path, engine: str, threads: int, precision: str) -> Graph:
    """A graph ready to run. Raises KarmmaError for a file that is missing or broken."""
    if not path.is_file():
        raise KarmmaError(f"{path}: no such file")
    graph: Graph = GRAPHS[engine](path, threads, precision)
    return graph
