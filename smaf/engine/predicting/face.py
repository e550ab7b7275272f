"""The face for Python: :func:`smaf.load` opens a network, which makes masks of photographs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from smaf.core.errors import InputError, MissingInputError, did_you_mean, printable
from smaf.core.images import read_image
from smaf.core.names import find_class, is_background
from smaf.core.photographs import on_white
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import Views
from smaf.engine.predicting import Network, open_network, shipped_weights
from smaf.engine.predicting.predictor import Predictor, default_settings, with_overrides
from smaf.engine.predicting.result import Result
from smaf.engine.predicting.result_files import place_of
from smaf.engine.predicting.saliency_network import (
    SHIPPED,
    SaliencyNetwork,
    SaliencyWeight,
    open_saliency,
)

_DEEP = ("I", "F")  # modes of more than 8 bits a channel begin so
_SUFFIXES = (".pth", ".onnx", ".pt2")


class LoadedNetwork:
    """A network that makes masks of photographs; made by :func:`smaf.load`.

    Args:
        network: behind its runtime.
        settings: how it is used where a call does not say otherwise.
        name: as it was asked for.
    """

    def __init__(self, network: Network, settings: PredictSettings, *, name: str) -> None:
        self.network, self.settings, self.name = network, settings, name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, without background, in the order of the mask's values 1, 2 …"""
        return self.network.class_names

    def __call__(
        self,
        photo: str | os.PathLike[str] | Image.Image | np.ndarray,
        labels: Sequence[str] | None = None,
        *,
        threshold: float | None = None,
        score: float | None = None,
        min_share: float | None = None,
        views: Views | None = None,
        crf: bool = True,
        saliency_weight: float = 0.0,
    ) -> Result:
        """Make the mask of a photograph, the same as `smaf predict` makes.

        Args:
            photo: a file's path (turned upright), a PIL image, or an (H, W, 3) uint8 RGB array.
                What is transparent becomes white.
            labels: names of the classes that it shows; None: those whose score reaches `score`.
            threshold: background threshold of the classes' maps, each divided by its maximum,
                between 0 and 1.
            score: from which a class counts as shown, between 0 and 1.
            min_share: of the photograph, that a class must have in the mask to count, in 0..1.
            views: which sizes and mirror images are fused (:class:`smaf.core.views.Views`).
            crf: bring the maps to the photograph's edges with dense CRF.
            saliency_weight: with `crf`: power of the odds of salient pixels, by the saliency
                network that ships, that multiply the classes' values; 0: without.

        None stands for the weights' own settings.

        Raises :class:`TypeError` for another kind of photograph or labels, :class:`ValueError` for
        a wrong shape or value, and FileNotFoundError.
        """
        settings = with_overrides(
            self.settings, threshold=threshold, score=score, views=views, min_share=min_share
        )
        shown = None if labels is None else _indices(labels, self.class_names)
        salient = SaliencyWeight(self._saliency, saliency_weight) if saliency_weight else None
        predictor = Predictor(self.network, settings, crf, salient)
        image, name = _opened(photo)
        prediction = predictor(image, shown)
        return Result(image, prediction, self.class_names, name)

    @cached_property
    def _saliency(self) -> SaliencyNetwork:
        """The saliency network that ships."""
        return open_saliency(SHIPPED)

    def __repr__(self) -> str:
        kind = "segmentation network" if self.network.segments else "classifier"
        return f"<{kind} {printable(self.name)} of {', '.join(self.class_names)}>"


def load(weights: str | os.PathLike[str], *, device: str = "auto") -> LoadedNetwork:
    """Open a network for prediction; :func:`smaf.load` is this function."""
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(
            f"weights: expected a shipped network's name or a path, got {type(weights).__name__}"
        )
    name, shipped = os.fspath(weights), shipped_weights()
    if name not in shipped and not os.path.exists(name):
        raise MissingInputError(
            f"weights {printable(name)} do not exist{did_you_mean(name, shipped)}: name a file "
            f"({', '.join(_SUFFIXES)}), or one of the shipped networks {', '.join(shipped)}"
        )
    network = open_network(name, device)
    settings = network.settings or default_settings(segments=network.segments)
    return LoadedNetwork(network, settings, name=name)


def _indices(labels: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Class indices of names, in order; background is no class."""
    wrong = isinstance(labels, (str, bytes, Mapping)) or not isinstance(labels, Iterable)
    names = [] if wrong else list(labels)
    if wrong or not all(isinstance(name, str) for name in names):
        raise TypeError(f"labels {labels!r:.80}: expected a list of class names, like ['cat']")
    indices = set()
    for name in names:
        index = find_class(name, class_names)
        if index is not None:
            indices.add(index)
        elif not is_background(name):
            raise InputError(
                f"labels: {name!r:.80} is no class of the weights"
                f"{did_you_mean(name, class_names)}, which have {', '.join(class_names)}"
            )
    return sorted(indices)


def _opened(photo: object) -> tuple[Image.Image, str | None]:
    """The photograph as RGB, and the stem of its file's name."""
    if isinstance(photo, (str, os.PathLike)):
        path = Path(os.fspath(photo))
        return read_image(path), place_of(PurePath(path.name)).name
    if isinstance(photo, Image.Image):
        return _as_rgb(photo), None
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8:
        what = f"array of {photo.dtype}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise TypeError(
            f"photo: expected a path, a PIL image or an (H, W, 3) array of uint8, got {what}"
        )
    if photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ValueError(f"photo: expected an RGB array (H, W, 3), got {photo.shape}")
    return Image.fromarray(np.ascontiguousarray(photo)), None


def _as_rgb(photo: Image.Image) -> Image.Image:
    """A PIL image as RGB, a copy of it; what is transparent becomes white."""
    if photo.mode.startswith(_DEEP):
        raise ValueError(
            f"photo: its mode {photo.mode} has more than 8 bits a channel; name its file, or "
            "convert it to RGB"
        )
    if not photo.width or not photo.height:
        raise ValueError(f"photo: expected at least one pixel, got {photo.width}×{photo.height}")
    if photo.mode in {"LA", "PA", "La", "RGBa", "RGBA"} or "transparency" in photo.info:
        rgba = (photo.convert("LA") if photo.mode == "La" else photo).convert("RGBA")
        if (white := on_white(rgba)) is None:
            raise ValueError("photo: it is transparent everywhere: take one without transparency")
        return white
    return photo.convert("RGB")
