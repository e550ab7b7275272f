"""Readers for every weight format that users bring, and the files of the project's own networks."""

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
from smaf.core.fields import Fields, shown
from smaf.core.files import require_file, write_bytes
from smaf.core.network_facts import (
    ClassifierInfo,
    SegmenterInfo,
    check_channels,
    parse_classifier,
    parse_predict,
    parse_segmenter,
)
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import FEATURES, HEADS, RESNET38, Classifier
from smaf.models.deeplab import NAME as DEEPLAB
from smaf.models.mxnet_params import LIST_MAGIC, published_key, read_mxnet_params
from smaf.models.segmenter import Segmenter
from smaf.models.state_dicts import check_tensors, find_state_dict, halved, load_torch
from smaf.models.timm_backbone import rename_lite0

CLASSIFIER_FORMAT, SEGMENTER_FORMAT = "smaf-classifier-1", "smaf-segmenter-1"
_FORMATS = (CLASSIFIER_FORMAT, SEGMENTER_FORMAT)
_FIX = "take the file as it was downloaded, or train again"


@dataclass(frozen=True)
class WeightsFile:
    """A checkpoint, read and checked: every tensor is dense and finite, what it says of itself fits
    its tensors.

    `classifier` or `segmenter` is what the file, or the keys of a release's checkpoint, tell of the
    network; both are None where it has no head (ImageNet weights).
    """

    path: Path
    state: dict[str, Tensor]
    classifier: ClassifierInfo | None = None
    segmenter: SegmenterInfo | None = None
    predict: PredictSettings | None = None


def save_classifier(
    path: Path,
    model: Classifier,
    class_names: tuple[str, ...],
    *,
    predict: PredictSettings | None = None,
    half: bool = False,
) -> None:
    """Write the project's own classifier file: the state dict and what is needed to build the
    network again.

    `half` stores float16, for weights that are only used; `predict` goes along for
    :func:`read_predict_settings`.
    """
    info = ClassifierInfo(
        model.backbone_name, model.head, model.num_classes, model.output_stride, class_names
    )
    _write(path, CLASSIFIER_FORMAT, info, model, predict, half)


def save_segmenter(
    path: Path,
    model: Segmenter,
    class_names: tuple[str, ...],
    *,
    predict: PredictSettings | None = None,
    half: bool = False,
) -> None:
    """Write a segmentation network's own file; see :func:`save_classifier`."""
    info = SegmenterInfo(model.backbone_name, model.num_classes, model.output_stride, class_names)
    _write(path, SEGMENTER_FORMAT, info, model, predict, half)


def _write(
    path: Path,
    form: str,
    info: ClassifierInfo | SegmenterInfo,
    model: torch.nn.Module,
    predict: PredictSettings | None,
    half: bool,
) -> None:
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    extra = {} if predict is None else {"predict": predict.to_dict()}
    stream = io.BytesIO()
    torch.save(
        {
            "format": form,
            "info": asdict(info),
            "state_dict": halved(state, path) if half else state,
            **extra,
        },
        stream,
    )
    write_bytes(path, stream.getvalue(), durable=True)


def open_weights(path: str | Path) -> WeightsFile:
    """Read a checkpoint of any known format: weights, and what they say of themselves.

    Keys are ResNet-38's published ones, deeplab-pytorch's, or the backbone's own. Formats: this
    project's files, EPS's plain state dict, SMAF's `{"Net": {"model_state": …}}`, MXNet's
    `.params`, deeplab-pytorch's and timm's state dicts, the EfficientNet-Lite0 package's, and state
    dicts that frameworks wrapped (:func:`smaf.models.state_dicts.find_state_dict`). Raises
    :class:`InputError` naming the file where it is none of these, where a fact is wrong, or a
    tensor is not finite.
    """
    path = Path(path)
    if _is_mxnet(path):
        return WeightsFile(path, check_tensors(_from_mxnet(path), path))
    value = load_torch(path)
    if form := _own_format(value, path):
        return _open_own(value, form, path)
    state = find_state_dict(value, path)
    if "_conv_stem.weight" in state:
        state = rename_lite0(state)
    state = check_tensors(state, path)
    return WeightsFile(
        path, state, _published_classifier(state, path), _published_segmenter(state, path)
    )


def _own_format(value: object, path: Path) -> str | None:
    """The format of a file of this project, None where it is another's; one that is not known is an
    error."""
    if not isinstance(value, Mapping):
        return None
    form, info = value.get("format"), value.get("info")
    if isinstance(form, str) and form in _FORMATS:
        return form
    if (isinstance(form, str) and form.startswith("smaf-")) or (
        isinstance(info, Mapping) and "class_names" in info
    ):
        raise InputError(
            f"weights {path} have the format {shown(form)}, this version reads "
            f"{' and '.join(_FORMATS)}: update smaf, or name other weights"
        )
    return None


def _open_own(value: Mapping[str, Any], form: str, path: Path) -> WeightsFile:
    where = f"weights {path}"
    fields = Fields(
        value, where, _FIX, required=("format", "info", "state_dict"), optional=("predict",)
    )
    state = check_tensors(find_state_dict(fields.values["state_dict"], path), path)
    predict = parse_predict(value.get("predict"), where, segments=form == SEGMENTER_FORMAT)
    if form == SEGMENTER_FORMAT:
        segmenter = parse_segmenter(value["info"], where)
        head = "base.aspp.c0.bias" if segmenter.name == DEEPLAB else "aspp.c0.bias"
        check_channels(_length(state, head, path), segmenter.num_classes, where)
        return WeightsFile(path, state, None, segmenter, predict)
    classifier = parse_classifier(value["info"], where, HEADS)
    check_channels(
        _head_channels(state, path), classifier.num_classes + (classifier.head != "cls"), where
    )
    return WeightsFile(path, state, classifier, None, predict)


def _head_channels(state: Mapping[str, Tensor], path: Path) -> int:
    """Channels of a classifier's head, a 1×1 convolution."""
    weight = state.get("fc8.weight")
    if (
        weight is None
        or weight.ndim != 4
        or tuple(weight.shape[2:]) != (1, 1)
        or not weight.is_floating_point()
    ):
        got = (
            "missing"
            if weight is None
            else f"{tuple(weight.shape)} of {str(weight.dtype).removeprefix('torch.')}"
        )
        raise InputError(
            f"weights {path}: fc8.weight is {got}, expected the head's (channels, D, 1, 1): {_FIX}"
        )
    return len(weight)


def _length(state: Mapping[str, Tensor], key: str, path: Path) -> int:
    bias = state.get(key)
    if bias is None or bias.ndim != 1:
        got = "missing" if bias is None else str(tuple(bias.shape))
        raise InputError(f"weights {path}: {key} is {got}, expected the head's (channels,): {_FIX}")
    return len(bias)


def _published_classifier(state: Mapping[str, Tensor], path: Path) -> ClassifierInfo | None:
    """What the keys of EPS's and SMAF's checkpoints tell."""
    if "fc8.weight" not in state or "conv1a.weight" not in state:
        return None
    channels = _head_channels(state, path)
    if channels < 2:
        raise InputError(
            f"weights {path} have a head of 1 channel, expected the classes and background: {_FIX}"
        )
    return ClassifierInfo(
        RESNET38, "smaf" if "cov_feat.weight" in state else "eps", channels - 1, 8, ()
    )


def _published_segmenter(state: Mapping[str, Tensor], path: Path) -> SegmenterInfo | None:
    """What the keys of deeplab-pytorch's checkpoints tell; None of its initialisation, which has no
    head."""
    key = "base.aspp.c0.bias"
    return SegmenterInfo(DEEPLAB, _length(state, key, path), 8, ()) if key in state else None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of any known format; see :func:`open_weights`."""
    return open_weights(path).state


def read_info(path: str | Path) -> ClassifierInfo | None:
    """What a classifier's file says of itself; for EPS's and SMAF's, what their keys tell. None
    without a head."""
    return open_weights(path).classifier


def read_segmenter_info(path: str | Path) -> SegmenterInfo | None:
    """What a segmentation network's file says of itself; for deeplab-pytorch's, what its keys tell.
    None for others."""
    return open_weights(path).segmenter


def read_predict_settings(path: str | Path) -> PredictSettings | None:
    """The settings that :func:`save_classifier` or :func:`save_segmenter` was given, None where it
    was given none."""
    return open_weights(path).predict


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
            raise InputError(
                f"weights {path} have {name!r}, which is not a name of ResNet-38: expected "
                "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
            ) from error
        if key in state:
            raise InputError(f"weights {path} have {key} twice: download the file again")
        if key is not None:
            state[key] = torch.from_numpy(array)
    return state


def widen_eps_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn EPS's head into SMAF's with the same CAMs, so that SMAF starts from the official EPS
    checkpoint.

    A linear map w·x is relu(w·x) - relu(-w·x), so 2·(C+1) of SMAF's 128 features carry EPS's
    channels exactly and the rest start as random features with no say yet. Raises
    :class:`InputError` where C+1 > 64.
    """
    fc8 = state["fc8.weight"]
    outputs = len(fc8)
    if 2 * outputs > FEATURES:
        raise InputError(
            f"a head of {outputs} channels does not fit SMAF's {FEATURES} features twice: use "
            "--head eps"
        )
    generator = torch.Generator().manual_seed(0)
    spare = torch.randn(FEATURES - 2 * outputs, fc8.shape[1], 1, 1, generator=generator) * float(
        fc8.std()
    )
    mix = torch.zeros(outputs, FEATURES, 1, 1)
    for channel in range(outputs):
        mix[channel, channel], mix[channel, outputs + channel] = 1.0, -1.0
    rest = {key: value for key, value in state.items() if key != "fc8.weight"}
    return {
        **rest,
        "cov_feat.weight": torch.cat([fc8, -fc8, spare]),
        "bn.running_mean": torch.zeros(FEATURES),
        "bn.running_var": torch.ones(FEATURES),
        "bn.weight": torch.full((FEATURES,), (1.0 + 1e-5) ** 0.5),
        "bn.bias": torch.zeros(FEATURES),
        "bn.num_batches_tracked": torch.tensor(0),
        "fc8.weight": mix,
    }
