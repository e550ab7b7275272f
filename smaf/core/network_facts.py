"""What a network's file says of the network, whatever its format.

Checkpoints hold `info` and `predict`; ONNX files and `torch.export` programs hold all as one JSON
text, which is written here, too. The parsers check each fact, and the facts against each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from smaf.core.classes import MAX_CLASSES
from smaf.core.errors import InputError
from smaf.core.fields import Fields, parse_json
from smaf.core.predict_settings import PEAK, PredictSettings
from smaf.core.views import LABEL_FILTERS, Views

_FIX = "take the file as it was downloaded, or make it again"
_MAX_SCALE, _MAX_SCALES, _MAX_SIDE = 8.0, 16, 65536
STRIDES = (8, 14, 16)  # 14: the patches of DINOv2 and CLIP
STRIDE_WORDS = "8, 14 or 16"
FACTS = "smaf"  # the name of the JSON text in ONNX's metadata, and of `smaf.json` in a program
NAME_ANOTHER = "name a network of this project (.pth, .onnx, .pt2), or one of the shipped weights"


@dataclass(frozen=True)
class ClassifierInfo:
    """What a classifier's checkpoint says of it; `class_names` is empty where it names none."""

    backbone: str
    head: str
    num_classes: int
    output_stride: int
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class SegmenterInfo:
    """What a segmentation network's checkpoint says of it.

    `num_classes` counts background; `class_names` are those of the mask's values 1, 2 …, and empty
    where the checkpoint names none. With `decoder` the logits are at stride 4.
    """

    name: str
    num_classes: int
    output_stride: int
    class_names: tuple[str, ...]
    decoder: bool = False


@dataclass(frozen=True)
class NetworkFacts:
    """What prediction must know of a network, whatever its file.

    Attributes:
        class_names: of the foreground classes.
        mean, std: of RGB in 0..1, what images are normalised with.
        segments: it is a segmentation network, whose first channel is background; a classifier's
            last channel is.
        bgr: it takes the normalised channels in the order blue, green, red.
        settings: how the network is meant to be used, None where nothing is said.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    segments: bool = False
    bgr: bool = False
    settings: PredictSettings | None = None


def parse_predict(value: object, where: str) -> PredictSettings | None:
    """The settings that travel with a network, None where there are none; `where` is the file."""
    if value is None:
        return None
    fields = Fields(
        value,
        f"{where}, predict",
        _FIX,
        required=("scales", "flip", "long_side", "background", "score"),
        optional=("label_filter", "crf_background", "score_share", "min_share"),
    )

    def given(key: str) -> bool:
        return fields.values.get(key) is not None

    views = Views(
        scales=fields.numbers("scales", 1 / 64, _MAX_SCALE, least=1, most=_MAX_SCALES),
        flip=fields.flag("flip"),
        long_side=fields.integer("long_side", 1, _MAX_SIDE) if given("long_side") else None,
        label_filter=fields.text("label_filter", LABEL_FILTERS)
        if "label_filter" in fields.values
        else "maps",
    )
    return PredictSettings(
        views,
        background=fields.number("background", 0, 1) if given("background") else None,
        score=fields.number("score", 0, 1),
        crf_background=fields.number("crf_background", 0, 1) if given("crf_background") else None,
        score_share=fields.number("score_share", 0, 1) if given("score_share") else PEAK,
        min_share=fields.number("min_share", 0, 1) if given("min_share") else 0.0,
    )


def write_facts(facts: NetworkFacts) -> str:
    """The JSON text that travels in an exported network's file; :func:`parse_facts` reads it.

    >>> text = write_facts(NetworkFacts(("cat",), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    >>> parse_facts(text, "weights cat.onnx").class_names
    ('cat',)
    """
    return json.dumps(
        {
            "classes": list(facts.class_names),
            "mean": list(facts.mean),
            "std": list(facts.std),
            "segments": facts.segments,
            "bgr": facts.bgr,
            "predict": None if facts.settings is None else facts.settings.to_dict(),
        }
    )


def parse_facts(text: str | bytes, where: str) -> NetworkFacts:
    """Read the JSON text of an exported network, which :func:`write_facts` wrote.

    Raises :class:`InputError` where a fact is missing, unknown or cannot be; `where` is the file.
    """
    fields = Fields(
        parse_json(text, f"{where}: what it says of itself", _FIX),
        where,
        _FIX,
        required=("classes", "mean", "std", "predict"),
        optional=("segments", "bgr"),
    )
    segments, bgr = fields.flag("segments"), fields.flag("bgr")
    if bgr and not segments:
        raise fields.fault("bgr", "false: classifiers take RGB")
    names = fields.names("classes", MAX_CLASSES)
    if not names:
        raise fields.fault("classes", "at least one name")
    return NetworkFacts(
        names,
        fields.numbers("mean", 0.0, 1.0, least=3, most=3),
        fields.numbers("std", 1e-3, 1.0, least=3, most=3),
        segments,
        bgr,
        parse_predict(fields.values["predict"], where),
    )


def parse_classifier(value: object, where: str, heads: Sequence[str]) -> ClassifierInfo:
    """The info of a classifier's checkpoint, checked; `heads` are the heads that are known."""
    fields = Fields(
        value,
        f"{where}, info",
        _FIX,
        required=("backbone", "head", "num_classes", "output_stride", "class_names"),
    )
    count = fields.integer("num_classes", 1, MAX_CLASSES)
    return ClassifierInfo(
        _network(fields, "backbone"),
        fields.text("head", heads),
        count,
        _stride(fields),
        _class_names(fields, count),
    )


def parse_segmenter(value: object, where: str) -> SegmenterInfo:
    """The info of a segmentation network's checkpoint, checked."""
    fields = Fields(
        value,
        f"{where}, info",
        _FIX,
        required=("name", "num_classes", "output_stride", "class_names"),
        optional=("decoder",),
    )
    count = fields.integer("num_classes", 2, MAX_CLASSES + 1)
    return SegmenterInfo(
        _network(fields, "name"),
        count,
        _stride(fields),
        _class_names(fields, count - 1),
        fields.flag("decoder"),
    )


def check_channels(channels: int, expected: int, where: str) -> None:
    """Raise :class:`InputError` where a network's channels are not those that its facts ask for."""
    if channels != expected:
        raise InputError(
            f"{where}: the network has {channels} channels, what the file says of it asks for "
            f"{expected}: {_FIX}"
        )


def _network(fields: Fields, key: str) -> str:
    value = fields.values[key]
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.\-]{0,99}", value, re.ASCII):
        raise fields.fault(key, "the name of a network")
    return value


def _stride(fields: Fields) -> int:
    stride = fields.integer("output_stride", min(STRIDES), max(STRIDES))
    if stride not in STRIDES:
        raise fields.fault("output_stride", STRIDE_WORDS)
    return stride


def _class_names(fields: Fields, count: int) -> tuple[str, ...]:
    names = fields.names("class_names", MAX_CLASSES)
    if names and len(names) != count:
        raise InputError(
            f"{fields.where}: class_names has {len(names)} names, num_classes asks for {count}: "
            f"{_FIX}"
        )
    return names
