"""Small ONNX graphs that stand in for saliency networks; their output can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RGB: tuple[Any, ...] = (1, 3, 32, 32)
ANY: tuple[Any, ...] = ("n", 3, "h", "w")
PROPS = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.25, 0.25, 0.25]", "side": "64"}


def mean_graph(
    path: Path,
    shape: Sequence[Any] = RGB,
    *,
    scale: float = 1.0,
    bias: float = 0.0,
    nodes: Sequence[tuple[str, str, str]] = (),
    inputs: Sequence[str] = ("photo",),
    kind: str = "FLOAT",
    domain: str = "",
    props: Mapping[str, str] | None = None,
) -> Path:
    """Write a graph whose first output is `scale` · (mean of the channels) + `bias`, (n, 1, h, w).

    `nodes` are further steps: operator, input, output; the last one's output is the graph's.
    """
    import onnx

    helper = onnx.helper
    number = {"FLOAT16": np.float16, "FLOAT": np.float32, "DOUBLE": np.float64}[kind]
    values = [
        onnx.numpy_helper.from_array(np.array(value, dtype=number), name)
        for name, value in (("scale", scale), ("bias", bias))
    ]
    steps = [
        helper.make_node("ReduceMean", ["photo"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["map"]),
        *(helper.make_node(op, [a], [b], domain=domain) for op, a, b in nodes),
    ]
    element = getattr(onnx.TensorProto, kind)
    last = nodes[-1][2] if nodes else "map"
    graph = helper.make_graph(
        steps,
        "graph",
        [helper.make_tensor_value_info(name, element, list(shape)) for name in inputs],
        [
            helper.make_tensor_value_info(last, element, None),
            helper.make_tensor_value_info("scaled", element, None),
        ],
        values,
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if props is not None:
        helper.set_model_props(model, dict(props))
    path.write_bytes(model.SerializeToString())
    return path
