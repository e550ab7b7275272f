"""Dense CRF (Krähenbühl and Koltun, NIPS 2011) through the optional package pydensecrf2."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from smaf.core.class_maps import ClassMaps
from smaf.core.errors import InputError


@dataclass(frozen=True)
class CrfSettings:
    r"""Kernels of dense CRF and the number of its mean-field iterations.

    The energy of pixels i, j of different labels, at places p with colours I:

    .. math:: k_{ij} = w_b e^{-|p_i - p_j|^2 / 2\theta_\alpha^2 - |I_i - I_j|^2 / 2\theta_\beta^2}
        + w_g e^{-|p_i - p_j|^2 / 2\theta_\gamma^2}

    with θ_α `bilateral_xy` and θ_γ `gaussian_xy` in pixels, θ_β `bilateral_rgb` in colour values
    0..255, and the kernels' weights w_b and w_g.
    """

    gaussian_xy: float
    gaussian_weight: float
    bilateral_xy: float
    bilateral_rgb: float
    bilateral_weight: float
    iterations: int = 10

    def scaled(self, factor: float) -> CrfSettings:
        """The kernels for a photograph resized by `factor`; the Gaussian stays ≥ 1 pixel wide.

        Example:
            >>> half = CrfSettings(1, 3, 67, 3, 4).scaled(0.5)
            >>> half.gaussian_xy, half.bilateral_xy
            (1.0, 33.5)
        """
        return replace(
            self,
            gaussian_xy=max(1.0, self.gaussian_xy * factor),
            bilateral_xy=self.bilateral_xy * factor,
        )


# Stage 3's, on hard labels, and EPS's and DeepLab-V2's, on softmax
HARD_LABELS = CrfSettings(
    gaussian_xy=3, gaussian_weight=3, bilateral_xy=50, bilateral_rgb=5, bilateral_weight=10
)
SOFTMAX = CrfSettings(
    gaussian_xy=1, gaussian_weight=3, bilateral_xy=67, bilateral_rgb=3, bilateral_weight=4
)
CERTAINTY = 0.7


def crf_available() -> bool:
    """Whether pydensecrf2 is installed."""
    return importlib.util.find_spec("pydensecrf") is not None


def require_crf(without: str = "without --crf") -> None:
    """Raise :class:`InputError` with the fix where pydensecrf2 is not installed.

    `without` says, for the message, how to run without dense CRF.
    """
    if not crf_available():
        raise InputError(
            "dense CRF needs the package pydensecrf2, which is not installed: `pip install "
            f"pydensecrf2` (Python 3.10 to 3.12 and a C++ compiler), or run {without}"
        )


def _infer(image: np.ndarray, unary: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """(H, W, 3) uint8 RGB and (T, H·W) float32 negative log probabilities → (T, H, W) float32."""
    import pydensecrf.densecrf as dcrf

    # Its buffers must be writable: a PIL image's pixels are not, hence the copy
    h, w = image.shape[:2]
    crf = dcrf.DenseCRF2D(w, h, len(unary))
    crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    crf.addPairwiseGaussian(sxy=settings.gaussian_xy, compat=settings.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=settings.bilateral_xy,
        srgb=settings.bilateral_rgb,
        rgbim=np.array(image, order="C"),
        compat=settings.bilateral_weight,
    )
    return np.array(crf.inference(settings.iterations), dtype=np.float32).reshape(len(unary), h, w)


def _pixels(image: np.ndarray | Image.Image, size: tuple[int, ...]) -> np.ndarray:
    pixels = np.asarray(image)
    if pixels.shape != (*size, 3) or pixels.dtype != np.uint8:
        raise ValueError(
            f"expected an RGB image {(*size, 3)} uint8, got {pixels.shape} {pixels.dtype}"
        )
    return pixels


def crf_labels(
    image: np.ndarray | Image.Image,
    mask: np.ndarray,
    *,
    num_classes: int,
    settings: CrfSettings = HARD_LABELS,
) -> np.ndarray:
    """Refine a hard mask with stage 3's dense CRF.

    Each pixel's label has probability 0.7; the other labels share the rest.

    Args:
        image: (H, W, 3) uint8 RGB, or a PIL RGB image.
        mask: (H, W) uint8, 0 background, 1..C.
        num_classes: T, background included (21 for VOC). All of them take part, as in the release.

    Returns:
        (H, W) uint8. Raises :class:`InputError` where pydensecrf2 is not installed.
    """
    require_crf()
    pixels = _pixels(image, mask.shape)
    if num_classes < 2 or mask.max(initial=0) >= num_classes:
        raise ValueError(
            f"mask has values up to {mask.max(initial=0)}, expected below num_classes = "
            f"{num_classes} ≥ 2"
        )
    other, own = -np.log((1.0 - CERTAINTY) / (num_classes - 1)), -np.log(CERTAINTY)
    unary = np.full((num_classes, mask.size), other, dtype=np.float32)
    unary[mask.ravel(), np.arange(mask.size)] = own
    return _infer(pixels, unary, settings).argmax(axis=0).astype(np.uint8)


def crf_softmax(
    image: np.ndarray | Image.Image, probability: np.ndarray, *, settings: CrfSettings = SOFTMAX
) -> np.ndarray:
    """CRF on probabilities (T, H, W) that sum to 1 at each pixel → refined (T, H, W) float32."""
    require_crf()
    pixels = _pixels(image, probability.shape[1:])
    unary = -np.log(np.clip(probability, 1e-5, 1.0)).reshape(len(probability), -1)
    return _infer(pixels, unary, settings)


def _odds(saliency: np.ndarray, weight: float) -> np.ndarray:
    """(H, W) float32: the odds of salient pixels, 1 to 19, to the power `weight`; 1 elsewhere."""
    s = np.clip(saliency, 0.5, 0.95)
    return np.asarray(((s / (1.0 - s)) ** weight).astype(np.float32))


def crf_cams(
    image: np.ndarray | Image.Image,
    cams: Mapping[int, np.ndarray],
    *,
    background: float | None,
    saliency: np.ndarray | None = None,
    saliency_weight: float = 1.0,
    settings: CrfSettings | None = SOFTMAX,
) -> ClassMaps:
    """Refine fused maps by the photograph's edges: CRF on [background, class maps] of sum 1.

    Only the labels of the maps and background take part, which the image-level label allows.
    Departs from the paper, whose CRF comes after the mask.

    Args:
        image: (H, W, 3) uint8 RGB, or a PIL RGB image.
        cams: `{class index: (H, W) in [0, 1]}`.
        background: the constant that a class must exceed; None for maps that are probabilities:
            what they leave to 1.
        saliency: (H, W) in [0, 1] or None. Where it is salient (above 0.5), its odds (at most 19)
            to the power `saliency_weight` multiply the classes' values. Elsewhere it says nothing:
            a detector misses objects, and held against the classes it cost more than it gave.
        settings: the kernels; None for no CRF at all (which needs no pydensecrf2), saliency alone.

    Returns:
        `{class index: (H, W) float32}`, probabilities; background has what is left to 1.

    Example:
        >>> cams = {3: np.full((1, 1), 0.75, dtype=np.float32)}
        >>> image = np.zeros((1, 1, 3), dtype=np.uint8)
        >>> crf_cams(image, cams, background=0.25, settings=None)[3].tolist()  # 0.75 of 1
        [[0.75]]
    """
    if not cams:
        return {}
    maps = np.stack([np.clip(cam, 1e-4, 1.0) for cam in cams.values()])
    if saliency is not None:
        maps = maps * _odds(saliency, saliency_weight)
    rest = np.clip(1.0 - maps.sum(axis=0, keepdims=True), 1e-4, 1.0)
    channels = np.concatenate(
        [rest if background is None else np.full_like(rest, background), maps]
    )
    channels /= channels.sum(axis=0)
    refined = channels if settings is None else crf_softmax(image, channels, settings=settings)
    return dict(zip(cams, refined[1:], strict=True))
