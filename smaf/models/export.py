"""Export a classifier or segmentation network, for any batch and image size: to ONNX, or as
`torch.export` has it."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.core.files import atomic_path, write_bytes
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import Classifier
from smaf.models.programs import FACTS, check_program
from smaf.models.segmenter import Segmenter

OPSET = 18
MIN_SIDE = 32  # pixels
_OLDEST = (
    2,
    13,
    # releases of PyTorch before write guards, which are code, into programs, or cannot trace for
    # ONNX
)


class _Logits(nn.Module):
    """A network as images → logits: a classifier's CAM, a segmentation network's output."""

    def __init__(self, model: Classifier | Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits = (
            self.model.forward_cam(images)
            if isinstance(self.model, Classifier)
            else self.model(images)
        )
        assert isinstance(logits, Tensor)
        return logits


def _facts(
    model: Classifier | Segmenter, class_names: tuple[str, ...], predict: PredictSettings | None
) -> str:
    segments = isinstance(model, Segmenter)
    return json.dumps(
        {
            "classes": list(class_names),
            "mean": list(model.mean),
            "std": list(model.std),
            "segments": segments,
            "bgr": isinstance(model, Segmenter) and model.bgr,
            "predict": None if predict is None else predict.to_dict(),
        }
    )


def _dynamic() -> tuple[dict[int, Any]]:
    height, width = (torch.export.Dim(name, min=MIN_SIDE) for name in ("height", "width"))
    return ({0: torch.export.Dim("n"), 2: height, 3: width},)


def _as_made(model: Classifier | Segmenter) -> _Logits:
    """A copy on the CPU whose tensors lie in memory as they were made: an export holds guards for
    any other order."""
    wrapped = copy.deepcopy(_Logits(model)).cpu().eval()
    for tensor in itertools.chain(wrapped.parameters(), wrapped.buffers()):
        tensor.data = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.data)
    return wrapped


def can_export() -> bool:
    """Whether this release of PyTorch exports the project's networks."""
    return tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) >= _OLDEST


def _require_export() -> None:
    if not can_export():
        raise InputError(
            f"exports need PyTorch {'.'.join(map(str, _OLDEST))} or newer, this is "
            f"{torch.__version__}: `pip install --upgrade torch torchvision`; .pth files do "
            "without"
        )


def export_program(
    path: Path,
    model: Classifier | Segmenter,
    class_names: tuple[str, ...],
    *,
    predict: PredictSettings | None = None,
) -> None:
    """Write `model` as a `torch.export` program (`.pt2`): images (N, 3, H, W), normalised → logits
    (N, T, h, w).

    It runs without this project's code; the extra file `smaf.json` names classes, mean, std and
    `predict`'s settings. The model stays as it is. Raises :class:`InputError` where PyTorch cannot
    export it for every size, or only with operators that :mod:`smaf.models.programs` does not
    admit.
    """
    _require_export()
    with warnings.catch_warnings(), torch.no_grad(), atomic_path(path) as temporary:
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                _as_made(model), (torch.zeros(2, 3, 96, 128),), dynamic_shapes=_dynamic()
            )
            with temporary.open("wb") as file:
                torch.export.save(
                    program,
                    file,
                    extra_files={f"{FACTS}.json": _facts(model, class_names, predict)},
                )
            check_program(temporary)
        except OSError:
            raise
        except Exception as error:  # PyTorch's exporter raises a dozen of its own types
            reason = next(
                (line for line in str(error).splitlines() if line.strip()), type(error).__name__
            )
            raise InputError(
                f"{path}: {model.backbone_name} cannot be written as a program "
                f"({reason.strip()[:200]}): write it as ONNX, or take another backbone"
            ) from error


def export_onnx(
    path: Path,
    model: Classifier | Segmenter,
    class_names: tuple[str, ...],
    *,
    predict: PredictSettings | None = None,
    half: bool = False,
) -> None:
    """Write `model` as ONNX: input `images` (N, 3, H, W), normalised; output (N, T, h, w) logits,
    named `cam` of a classifier (the last channel background) and `logits` of a segmentation network
    (the first one background).

    `half` stores the weights in float16; they are computed with in float32. The file's metadata
    names classes, mean and std, and `predict`'s settings. Raises :class:`InputError` where onnx or
    onnxscript is not installed.
    """
    _require_export()
    try:
        import onnx
        import onnxscript  # noqa: F401  (the exporter's)
    except ImportError as error:
        raise InputError(
            "export to ONNX needs the packages onnx and onnxscript: `pip install onnx onnxscript`"
        ) from error
    wrapped = _Logits(model).eval()
    output = "cam" if isinstance(model, Classifier) else "logits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            wrapped,
            (torch.zeros(2, 3, 96, 128),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=[output],
            dynamic_shapes=_dynamic(),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    if half:
        _halve(proto, onnx, path)
    entry = proto.metadata_props.add()
    entry.key, entry.value = FACTS, _facts(model, class_names, predict)
    write_bytes(path, proto.SerializeToString())


def _halve(proto: Any, onnx: Any, path: Path) -> None:
    """Store the large float32 weights as float16, each with a cast behind it that runtimes fold
    when they load."""
    import numpy as np

    for tensor in list(proto.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < 256:
            continue
        with np.errstate(over="ignore"):
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(values).all():
            raise InputError(
                f"{path}: {tensor.name} has values beyond float16: write it in float32"
            )
        half = onnx.numpy_helper.from_array(values, f"{tensor.name}_half")
        proto.graph.node.insert(
            0, onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT)
        )
        proto.graph.initializer.remove(tensor)
        proto.graph.initializer.append(half)
