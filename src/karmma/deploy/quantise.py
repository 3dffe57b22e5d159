"""ONNX graphs in int8: weights and activations, with ranges from data (NNCF), weights stored as bytes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout

import nncf
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Inputs = Mapping[str, NDArray[np.float32]]


def quantise_graph(graph: onnx.ModelProto, samples: Iterable[Inputs]) -> onnx.ModelProto:
    """A graph with QuantizeLinear / DequantizeLinear pairs, which engines turn into int8 kernels."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    del copy.graph.value_info[:]  # shapes of the unquantised graph mislead the quantiser
    logging.getLogger("nncf").setLevel(logging.ERROR)
    found = list(samples)
    transformer = any(node.op_type == "Softmax" for node in copy.graph.node)
    with redirect_stdout(io.StringIO()):  # NNCF draws four bars for each graph
        quantised: onnx.ModelProto = nncf.quantize(
            copy, nncf.Dataset(found), subset_size=len(found), preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            ignored_scope=nncf.IgnoredScope(names=narrow_convolutions(copy)),
        )  # fmt: skip
    return with_stored_bytes(quantised)


def narrow_convolutions(graph: onnx.ModelProto) -> list[str]:
    """Convolutions of 5 to 15 channels: OpenVINO 2026.4 gets their int8 kernels wrong on CPUs with AMX; they stay in fp32.

    Found with the demo's audio extractor (12 channels), which ONNX Runtime runs right in int8.
    """
    shapes = {tensor.name: tensor.dims for tensor in graph.graph.initializer}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv" and node.input[1] in shapes]
    return [node.name for node in convolutions if 4 < shapes[node.input[1]][1] < 16]


def with_stored_bytes(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Weights that a QuantizeLinear would quantise anew at every start, as the bytes it gives."""
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    kept = []
    for node in graph.graph.node:
        if node.op_type == "QuantizeLinear" and all(name in tensors for name in node.input):
            graph.graph.initializer.append(numpy_helper.from_array(quantised_array(node, tensors), node.output[0]))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input} | {output.name for output in graph.graph.output}
    left = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.node[:]
    graph.graph.node.extend(kept)
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(left)
    return graph


def quantised_array(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> NDArray[np.int8 | np.uint8]:
    values, scale, zero = (numpy_helper.to_array(tensors[name]) for name in node.input)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if scale.ndim:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    limits = np.iinfo(zero.dtype)
    steps = np.rint(values / scale) + zero.astype(np.float32)
    return np.clip(steps, limits.min, limits.max).astype(zero.dtype)
