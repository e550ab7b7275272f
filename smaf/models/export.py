"""Export a classifier to ONNX, for any batch and image size."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.core.files import write_bytes
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import Classifier

OPSET = 18


class _Cam(nn.Module):
    """The classifier as images → CAM logits."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.forward_cam(images)


def export_onnx(path: Path, model: Classifier, class_names: tuple[str, ...], *,
                predict: PredictSettings | None = None, half: bool = False) -> None:
    """Write `model` as ONNX: input `images` (N, 3, H, W), normalised; output `cam` (N, C+1, h, w) logits.

    `half` stores the weights in float16; they are computed with in float32. The file's metadata names classes, mean
    and std, and `predict`'s settings. Raises :class:`InputError` where onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (the exporter's)
    except ImportError as error:
        raise InputError("export to ONNX needs the packages onnx and onnxscript: `pip install onnx onnxscript`"
                         ) from error
    wrapped = _Cam(model).eval()
    dims = {0: torch.export.Dim("n"), 2: torch.export.Dim("height", min=16), 3: torch.export.Dim("width", min=16)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(wrapped, (torch.zeros(2, 3, 96, 128),), dynamo=True, opset_version=OPSET,
                                    input_names=["images"], output_names=["cam"], dynamic_shapes=(dims,),
                                    verbose=False)
    assert program is not None
    proto = program.model_proto
    if half:
        _halve(proto, onnx)
    facts: dict[str, Any] = {"classes": list(class_names), "mean": list(model.mean), "std": list(model.std),
                             "predict": None if predict is None else asdict(predict)}
    entry = proto.metadata_props.add()
    entry.key, entry.value = "smaf", json.dumps(facts)
    write_bytes(path, proto.SerializeToString())


def _halve(proto: Any, onnx: Any) -> None:
    """Store the large float32 weights as float16, each with a cast behind it that runtimes fold when they load."""
    import numpy as np

    for tensor in list(proto.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < 256:
            continue
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        half = onnx.numpy_helper.from_array(values, f"{tensor.name}_half")
        proto.graph.node.insert(0, onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT))
        proto.graph.initializer.remove(tensor)
        proto.graph.initializer.append(half)
