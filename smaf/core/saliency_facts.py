"""How networks that find what is salient want photographs, and how their output is read.

A file of this project says it of itself, in the ONNX file's properties `mean`, `std` and `side`.
Published networks do not: what theirs want are the presets here, each of which names the networks
that it was read off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from smaf.core.errors import InputError
from smaf.core.fields import Fields, parse_json

MAX_SIDE = 8192  # of the image that a network is run on
_FIX = "take the file as it was downloaded, or make it again"
_PROPS = ("mean", "std", "side")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class SaliencyFacts:
    """What must be known of a saliency network beside its graph.

    Attributes:
        mean, std: of RGB in 0..1, what images are normalised with.
        side: pixels; of a square where the aspect is not kept, else of the longer side.
        keeps_aspect: the shorter side follows, both in multiples of :data:`STEP`.
        sigmoid: the output is logits.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    keeps_aspect: bool = False
    sigmoid: bool = False

    def size(self, photograph: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) at which the network sees a photograph of that (width, height).

        >>> SaliencyFacts((0.5,) * 3, (1.0,) * 3, 320).size((500, 375))
        (320, 320)
        >>> SaliencyFacts((0.5,) * 3, (1.0,) * 3, 320, keeps_aspect=True).size((500, 375))
        (320, 256)
        """
        if not self.keeps_aspect:
            return self.side, self.side
        longer = max(photograph)
        width, height = (
            max(STEP, round(self.side * length / longer / STEP) * STEP) for length in photograph
        )
        return width, height


STEP = 32  # the coarsest layer of a network that keeps the aspect has a cell for so many pixels
PRESETS = {
    "u2net": SaliencyFacts(*_IMAGENET, 320),
    "isnet": SaliencyFacts((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 1024),
    "birefnet": SaliencyFacts(*_IMAGENET, 1024, sigmoid=True),
}
_FILES = {  # as rembg names them
    "u2net": "u2net",
    "u2netp": "u2net",
    "silueta": "u2net",
    "isnet-general-use": "isnet",
    "birefnet-general": "birefnet",
    "birefnet-general-lite": "birefnet",
}


def known_models() -> tuple[str, ...]:
    """The names of published networks whose preset is known."""
    return tuple(_FILES)


def write_props(facts: SaliencyFacts) -> dict[str, str]:
    """The properties of an ONNX file of a network that keeps the aspect.

    >>> write_props(SaliencyFacts((0.5,) * 3, (1.0,) * 3, 384, keeps_aspect=True))["side"]
    '384'
    """
    return {name: json.dumps(getattr(facts, name)) for name in _PROPS}


def parse_props(props: Mapping[str, str], where: str) -> SaliencyFacts | None:
    """What an ONNX file's properties say of a saliency network; None where they say nothing.

    Each is JSON: `mean` and `std` three numbers in brackets, `side` a whole number. Raises
    :class:`InputError` where one is missing or cannot be; `where` is the file.
    """
    if not set(_PROPS) <= set(props):
        return None
    fields = Fields(
        {name: parse_json(props[name], f"{where}: its {name}", _FIX) for name in _PROPS},
        where,
        _FIX,
        required=_PROPS,
    )
    side = fields.integer("side", STEP, MAX_SIDE)
    if side % STEP:
        raise fields.fault("side", f"a multiple of {STEP}")
    return SaliencyFacts(
        fields.numbers("mean", 0.0, 1.0, least=3, most=3),
        fields.numbers("std", 1e-3, 1.0, least=3, most=3),
        side,
        keeps_aspect=True,
    )


def facts_for(
    props: Mapping[str, str], preset: str | None, *, stem: str, where: str
) -> tuple[SaliencyFacts, str | None]:
    """What an ONNX file says of itself, else the preset, given or that of the file's name.

    The second is the preset's name, None where the file says all itself. `stem` is the file's name
    without the suffix. Raises :class:`InputError` where nothing is known, or a preset contradicts.

    >>> facts_for({}, None, stem="silueta", where="silueta.onnx")[1]
    'u2net'
    """
    own = parse_props(props, where)
    if own is not None and preset is not None:
        raise InputError(
            f"{where} says itself how it is used: leave --preset {preset} out, or take another file"
        )
    if own is not None:
        return own, None
    preset = preset or _FILES.get(stem.lower())
    if preset is None:
        raise InputError(
            f"{where} does not say how it wants photographs, and its name is none of "
            f"{', '.join(_FILES)}: add --preset {', --preset '.join(PRESETS)}, after the network "
            "that it is a training of"
        )
    return PRESETS[preset], preset
