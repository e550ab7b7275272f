"""Export a classifier or segmentation network as ONNX, or as a `torch.export` program."""

from __future__ import annotations

import copy
import itertools
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.core.files import atomic_path, write_bytes
from smaf.core.network_facts import FACTS, write_facts
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import Classifier
from smaf.models.facts import facts_of
from smaf.models.programs import check_program
from smaf.models.segmenter import Segmenter

OPSET = 18
MIN_SIDE = 32  # pixels
# Releases of PyTorch before write guards, which are code, into programs, or cannot trace for ONNX
_OLDEST = (2, 13)


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


def _dynamic() -> tuple[dict[int, Any]]:
    height, width = (torch.export.Dim(name, min=MIN_SIDE) for name in ("height", "width"))
    return ({0: torch.export.Dim("n"), 2: height, 3: width},)


def _as_made(model: Classifier | Segmenter) -> _Logits:
    """A copy on the CPU whose tensors lie in memory as they were made.

    An export holds guards, which are code, for any other order.
    """
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
    """Write `model` as a `torch.export` program (`.pt2`), which runs without this project's code.

    The program takes images (N, 3, H, W), normalised, of any number and size, and gives logits (N,
    T, h, w). Its extra file `smaf.json` tells what :func:`smaf.models.facts_of` does.

    Args:
        path: the file; it is written whole or not at all.
        model: it stays as it is.
        class_names: of the foreground classes.
        predict: how `smaf predict` is to use the network.

    Raises:
        InputError: PyTorch cannot export the network for every size, or only with operators that
            :mod:`smaf.models.programs` does not admit.
    """
    _require_export()
    extra = {f"{FACTS}.json": write_facts(facts_of(model, class_names, predict))}
    with warnings.catch_warnings(), torch.no_grad(), atomic_path(path) as temporary:
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                _as_made(model), (torch.zeros(2, 3, 96, 128),), dynamic_shapes=_dynamic()
            )
            with temporary.open("wb") as file:
                torch.export.save(program, file, extra_files=extra)
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
    """Write `model` as ONNX, for any number and size of images.

    Its input `images` is (N, 3, H, W), normalised; its output (N, T, h, w) logits: `cam` of a
    classifier, whose last channel is background, and `logits` of a segmentation network, whose
    first channel is. The metadata tells what :func:`smaf.models.facts_of` does.

    Args:
        path: the file; it is written whole or not at all.
        model: it is left in evaluation mode.
        class_names: of the foreground classes.
        predict: how `smaf predict` is to use the network.
        half: store the weights in float16; they are computed with in float32.

    Raises:
        InputError: PyTorch is too old, or a weight is too large for float16.
    """
    output = "cam" if isinstance(model, Classifier) else "logits"
    proto = traced(_Logits(model), ("images", output), _dynamic())
    if half:
        halve(proto, path)
    entry = proto.metadata_props.add()
    entry.key, entry.value = FACTS, write_facts(facts_of(model, class_names, predict))
    write_bytes(path, proto.SerializeToString())


def traced(network: nn.Module, names: tuple[str, str], dynamic: Any) -> Any:
    """The ONNX graph, with float32 weights, of a network of images (N, 3, H, W).

    `names` are those of its input and its output, `dynamic` the dimensions of the input that vary,
    as `torch.export` names them. Raises :class:`InputError` as :func:`export_onnx`
    does.
    """
    _require_export()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 3, 96, 128),),
            dynamo=True,
            opset_version=OPSET,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def halve(proto: Any, path: Path) -> None:
    """Store the large float32 weights as float16, each with a cast behind it.

    Runtimes fold these casts when they load the file.
    """
    import numpy as np
    import onnx

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
