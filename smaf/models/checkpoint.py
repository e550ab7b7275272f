"""Checkpoints: one type for what a file of weights holds, one reader and one writer."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError
from smaf.core.fields import Fields, shown
from smaf.core.files import write_bytes
from smaf.core.network_facts import (
    NAME_ANOTHER,
    ClassifierInfo,
    SegmenterInfo,
    check_channels,
    parse_classifier,
    parse_predict,
    parse_segmenter,
)
from smaf.core.predict_settings import PredictSettings
from smaf.models.classifier import HEADS, Classifier
from smaf.models.deeplab import NAME as DEEPLAB
from smaf.models.efficientnet_lite import rename_lite
from smaf.models.facts import info_of
from smaf.models.mxnet_params import is_mxnet_params, read_resnet38_params
from smaf.models.published import (
    aspp_channels,
    fc8_channels,
    published_classifier,
    published_segmenter,
)
from smaf.models.segmenter import Segmenter, has_decoder
from smaf.models.state_dicts import find_state_dict, load_torch
from smaf.models.tensor_values import check_tensors, halved

CLASSIFIER_FORMAT, SEGMENTER_FORMAT = "smaf-classifier-1", "smaf-segmenter-1"
_FORMATS = (CLASSIFIER_FORMAT, SEGMENTER_FORMAT)
_FIX = "take the file as it was downloaded, or train again"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a file of weights holds, read once by :func:`read_checkpoint` and checked.

    Attributes:
        path: the file, for error messages.
        state: the network's tensors by key; each is dense and finite.
        classifier: what the file, or the keys of EPS's and SMAF's releases, tell of a classifier.
        segmenter: what the file, or deeplab-pytorch's keys, tell of a segmentation network. Both
            are None where the file has no head (ImageNet weights).
        predict: how `smaf predict` is to use the network, None where the file does not say.
    """

    path: Path
    state: dict[str, Tensor]
    classifier: ClassifierInfo | None = None
    segmenter: SegmenterInfo | None = None
    predict: PredictSettings | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the foreground classes, empty where the file does not name them."""
        info = self.segmenter or self.classifier
        return () if info is None else info.class_names

    def require_class_names(self) -> tuple[str, ...]:
        """The names of the foreground classes, which prediction needs.

        A segmentation network of 21 channels that names none (deeplab-pytorch's) has PASCAL VOC's.
        Raises :class:`InputError` for any other file without names.
        """
        if self.class_names:
            return self.class_names
        if self.segmenter is not None:
            if self.segmenter.num_classes == len(VOC_CLASSES) + 1:
                return VOC_CLASSES
            raise InputError(
                f"weights {self.path} do not name their {self.segmenter.num_classes - 1} classes: "
                f"{NAME_ANOTHER}"
            )
        raise InputError(f"weights {self.path} do not name their classes: {NAME_ANOTHER}")


def write_checkpoint(
    path: Path,
    model: Classifier | Segmenter,
    class_names: tuple[str, ...],
    *,
    predict: PredictSettings | None = None,
    half: bool = False,
) -> None:
    """Write a network's checkpoint: its state dict and what is needed to build the network again.

    Args:
        path: the file; it is written whole or not at all.
        model: a classifier or a segmentation network; it stays as it is.
        class_names: of the foreground classes; may be empty.
        predict: how `smaf predict` is to use the network.
        half: store float16, for weights that are used and not trained further.

    Raises:
        InputError: a value is too large for float16.
    """
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    content: dict[str, Any] = {
        "format": CLASSIFIER_FORMAT if isinstance(model, Classifier) else SEGMENTER_FORMAT,
        "info": _told(info_of(model, class_names)),
        "state_dict": halved(state, path) if half else state,
    }
    if predict is not None:
        content["predict"] = predict.to_dict()
    stream = io.BytesIO()
    torch.save(content, stream)
    write_bytes(path, stream.getvalue(), durable=True)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of any known format: the tensors, and what the file says of the network.

    Formats: this project's files; EPS's plain state dict; SMAF's `{"Net": {"model_state": …}}`;
    MXNet's `.params`; state dicts of deeplab-pytorch, timm, torchvision and the EfficientNet-Lite
    packages; and state dicts that frameworks wrapped (:func:`find_state_dict` of
    :mod:`smaf.models.state_dicts`). Keys of `state` are ResNet-38's published ones,
    deeplab-pytorch's, or the backbone's own.

    Raises:
        InputError: the file is none of these, says what cannot be, would run code, or has a tensor
            that is not dense and finite; the message names the file.
    """
    path = Path(path)
    if is_mxnet_params(path):
        arrays = read_resnet38_params(path)
        state = {key: torch.from_numpy(array) for key, array in arrays.items()}
        return Checkpoint(path, check_tensors(state, path))
    value = load_torch(path)
    if form := _own_format(value, path):
        return _parse_own(value, form, path)
    state = find_state_dict(value, path)
    if "_conv_stem.weight" in state:
        state = rename_lite(state)
    state = check_tensors(state, path)
    return Checkpoint(
        path, state, published_classifier(state, path), published_segmenter(state, path)
    )


def _told(info: ClassifierInfo | SegmenterInfo) -> dict[str, Any]:
    """What a checkpoint tells; that there is no decoder goes without saying, as before 0.11."""
    return {key: value for key, value in asdict(info).items() if (key, value) != ("decoder", False)}


def _own_format(value: object, path: Path) -> str | None:
    """The format of a file of this project, None of another's; an unknown format is an error."""
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


def _parse_own(value: Mapping[str, Any], form: str, path: Path) -> Checkpoint:
    """What :func:`write_checkpoint` wrote, each fact checked, and the class count with the head."""
    where = f"weights {path}"
    fields = Fields(
        value, where, _FIX, required=("format", "info", "state_dict"), optional=("predict",)
    )
    state = check_tensors(find_state_dict(fields.values["state_dict"], path), path)
    predict = parse_predict(value.get("predict"), where)
    if form == SEGMENTER_FORMAT:
        segmenter = parse_segmenter(value["info"], where)
        bias = "base.aspp.c0.bias" if segmenter.name == DEEPLAB else "aspp.c0.bias"
        check_channels(aspp_channels(state, bias, path), segmenter.num_classes, where)
        if segmenter.decoder != has_decoder(state):
            has = "no decoder" if segmenter.decoder else "a decoder"
            raise InputError(f"{where}: it has {has}, its info says otherwise: {_FIX}")
        return Checkpoint(path, state, None, segmenter, predict)
    classifier = parse_classifier(value["info"], where, HEADS)
    expected = classifier.num_classes + (classifier.head != "cls")
    check_channels(fc8_channels(state, path), expected, where)
    return Checkpoint(path, state, classifier, None, predict)
