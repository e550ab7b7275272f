"""Readers for every weight format that users bring, and the project's own classifier file."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smaf.core.errors import InputError
from smaf.core.files import require_file, write_bytes
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import FEATURES, RESNET38, Classifier
from smaf.models.mxnet_params import LIST_MAGIC, published_key, read_mxnet_params
from smaf.models.timm_backbone import rename_lite0

FORMAT = "smaf-classifier-1"
# PyTorch's lines around the reason: they advise to run the file's code
_ADVICE = ("Weights only load failed", "Please file an issue", "Check the documentation")


@dataclass(frozen=True)
class ClassifierInfo:
    """What a classifier file of this project says of itself."""

    backbone: str
    head: str
    num_classes: int
    output_stride: int
    class_names: tuple[str, ...]


def save_classifier(path: Path, model: Classifier, class_names: tuple[str, ...], *,
                    predict: PredictSettings | None = None, half: bool = False) -> None:
    """Write the project's own classifier file: the state dict and what is needed to build the network again.

    `half` stores float16, for weights that are only used; `predict` goes along for :func:`read_predict_settings`.
    """
    info = ClassifierInfo(model.backbone_name, model.head, model.num_classes, model.output_stride, class_names)
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    stream = io.BytesIO()
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    extra = {} if predict is None else {"predict": asdict(predict)}
    torch.save({"format": FORMAT, "info": asdict(info), "state_dict": state, **extra}, stream)
    write_bytes(path, stream.getvalue())


def load_torch(path: Path, what: str = "weights") -> Any:
    """`torch.load` of tensors and plain values only; a file that is damaged or would run code is an error."""
    require_file(path, what, "name the file that you downloaded or trained")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged checkpoint raises nearly anything; each is the same fault of the file
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(_ADVICE)]
        reason = (lines or [type(error).__name__])[0].strip()[:200]
        raise InputError(f"{what} {path} cannot be read as tensors ({reason}): the file is damaged, is no PyTorch "
                         "checkpoint, or holds more than weights; save its state dict alone") from error


def _state_dict(value: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in what a checkpoint holds."""
    if isinstance(value, Mapping):
        if isinstance(value.get("Net"), Mapping) and isinstance(value["Net"].get("model_state"), Mapping):
            value = value["Net"]["model_state"]  # SMAF's release
        elif isinstance(value.get("state_dict"), Mapping):
            value = value["state_dict"]  # this project's, and timm's training script
    if not isinstance(value, Mapping) or not value or not all(isinstance(v, Tensor) for v in value.values()):
        raise InputError(f"weights {path} hold no state dict: expected names and tensors, EPS's or SMAF's checkpoint, "
                         "or a classifier of this project")
    state = {str(key).removeprefix("module."): tensor for key, tensor in value.items()}
    return rename_lite0(state) if "_conv_stem.weight" in state else state


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint of any known format as a dict of tensors.

    Keys are ResNet-38's published ones, or the backbone's own. Formats: EPS's plain state dict (with or without
    `module.`), SMAF's `{"Net": {"model_state": …}}`, MXNet's `.params`, this project's files, timm's state dicts
    and the EfficientNet-Lite0 package's. Raises :class:`InputError` naming the file where it is none of these.
    """
    path = Path(path)
    if _is_mxnet(path):
        return _from_mxnet(path)
    return _state_dict(load_torch(path), path)


def _is_mxnet(path: Path) -> bool:
    require_file(path, "weights", "name the file that you downloaded or trained")
    with path.open("rb") as file:
        return file.read(8) == struct.pack("<Q", LIST_MAGIC)


def _from_mxnet(path: Path) -> dict[str, Tensor]:
    state = {}
    for name, array in read_mxnet_params(path).items():
        try:
            key = published_key(name)
        except KeyError as error:
            raise InputError(f"weights {path} have {name!r}, which is not a name of ResNet-38: expected "
                             "ilsvrc-cls_rna-a1_cls1000_ep-0001.params") from error
        if key is not None:
            state[key] = torch.from_numpy(array)
    return state


def read_info(path: str | Path) -> ClassifierInfo | None:
    """What a classifier file of this project says of itself; for EPS's and SMAF's, what their keys tell.

    None where the file has no head (ImageNet weights).
    """
    path = Path(path)
    if _is_mxnet(path):
        return None
    value = load_torch(path)
    if isinstance(value, Mapping) and value.get("format") == FORMAT:
        info = dict(value["info"])
        return ClassifierInfo(**{**info, "class_names": tuple(info["class_names"])})
    state = _state_dict(value, path)
    if "fc8.weight" not in state or "conv1a.weight" not in state:
        return None
    head = "smaf" if "cov_feat.weight" in state else "eps"
    return ClassifierInfo(RESNET38, head, len(state["fc8.weight"]) - 1, 8, ())


def read_predict_settings(path: str | Path) -> PredictSettings | None:
    """The settings that :func:`save_classifier` or `save_segmenter` was given, None where it was given none."""
    path = Path(path)
    value = None if _is_mxnet(path) else load_torch(path)
    if not isinstance(value, Mapping) or "format" not in value or not isinstance(value.get("predict"), Mapping):
        return None
    settings = dict(value["predict"])
    return PredictSettings(**{**settings, "scales": tuple(settings["scales"])})


def widen_eps_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn EPS's head into SMAF's with the same CAMs, so that SMAF starts from the official EPS checkpoint.

    A linear map w·x is relu(w·x) - relu(-w·x), so 2·(C+1) of SMAF's 128 features carry EPS's channels exactly
    and the rest start as random features with no say yet. Raises :class:`InputError` where C+1 > 64.
    """
    fc8 = state["fc8.weight"]
    outputs = len(fc8)
    if 2 * outputs > FEATURES:
        raise InputError(f"a head of {outputs} channels does not fit SMAF's {FEATURES} features twice: use --head eps")
    generator = torch.Generator().manual_seed(0)
    spare = torch.randn(FEATURES - 2 * outputs, fc8.shape[1], 1, 1, generator=generator) * float(fc8.std())
    mix = torch.zeros(outputs, FEATURES, 1, 1)
    for channel in range(outputs):
        mix[channel, channel], mix[channel, outputs + channel] = 1.0, -1.0
    rest = {key: value for key, value in state.items() if key != "fc8.weight"}
    return {**rest, "cov_feat.weight": torch.cat([fc8, -fc8, spare]), "bn.running_mean": torch.zeros(FEATURES),
            "bn.running_var": torch.ones(FEATURES), "bn.weight": torch.full((FEATURES,), (1.0 + 1e-5) ** 0.5),
            "bn.bias": torch.zeros(FEATURES), "bn.num_batches_tracked": torch.tensor(0), "fc8.weight": mix}
