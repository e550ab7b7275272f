"""Stage 1's fusion, stage 3's CRF, training samples and the evaluation, as published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from smaf.data.augment import Geometry

SCALES = (0.5, 1.0, 1.5, 2.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(
    photo: Image.Image, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> np.ndarray:
    """(H, W, 3) float32, computed by NumPy in float64, channel by channel."""
    pixels = np.asarray(photo)
    normal = np.empty_like(pixels, dtype=np.float32)
    for c in range(3):
        normal[..., c] = (pixels[..., c] / 255.0 - mean[c]) / std[c]
    return normal


@torch.no_grad()
def fuse(model: Any, photo: Image.Image, label: np.ndarray) -> dict[int, np.ndarray]:
    """Fused maps: at each scale the photograph and its mirror image are one batch of two."""
    width, height = photo.size
    total = np.zeros((len(label), height, width), dtype=np.float32)
    batches = []
    for scale in SCALES:
        size = (round(width * scale), round(height * scale))
        view = normalised(photo.resize(size, Image.Resampling.BICUBIC), model.mean, model.std)
        view = view.transpose(2, 0, 1)
        batches.append(torch.from_numpy(np.stack([view, view[:, :, ::-1]])))
    for batch in batches:
        maps = F.softmax(model(batch).cam, dim=1)
        maps = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)
        pair = maps.numpy()[:, : len(label)]
        total += (pair[0] + pair[1][:, :, ::-1]) * label[:, None, None]
    total /= total.max(axis=(1, 2), keepdims=True) + 1e-5
    return {int(c): total[c] for c in np.flatnonzero(label)}


def crf_of_labels(photo: np.ndarray, mask: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Stage 3's CRF on a hard mask (H, W), by pydensecrf."""
    from pydensecrf import densecrf, utils

    unary = utils.unary_from_labels(mask, num_classes, gt_prob=0.7, zero_unsure=False)
    return _crf(densecrf, photo, unary, gaussian=(3, 3), bilateral=(10, 50, 5))


def crf_of_softmax(photo: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """EPS's CRF on probabilities (T, H, W), by pydensecrf: the most probable labels (H, W)."""
    from pydensecrf import densecrf, utils

    unary = utils.unary_from_softmax(probability)
    return _crf(densecrf, photo, unary, gaussian=(3, 1), bilateral=(4, 67, 3))


def _crf(
    densecrf: Any,
    photo: np.ndarray,
    unary: np.ndarray,
    *,
    gaussian: tuple[float, float],
    bilateral: tuple[float, float, float],
) -> np.ndarray:
    """Ten steps; kernels are (weight, xy) and (weight, xy, rgb)."""
    height, width = photo.shape[:2]
    crf = densecrf.DenseCRF2D(width, height, len(unary))
    crf.setUnaryEnergy(np.ascontiguousarray(unary))
    crf.addPairwiseGaussian(sxy=gaussian[1], compat=gaussian[0])
    crf.addPairwiseBilateral(
        sxy=bilateral[1],
        srgb=bilateral[2],
        rgbim=np.ascontiguousarray(np.copy(photo)),
        compat=bilateral[0],
    )
    probability = np.array(crf.inference(10)).reshape(len(unary), height, width)
    return np.asarray(probability.argmax(axis=0), dtype=np.uint8)


def _window(geometry: Geometry) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the crop, and of the resized photograph, where they overlap."""
    places = []
    for start, length in zip((geometry.top, geometry.left), geometry.size[::-1], strict=True):
        overlap = min(length, start + geometry.crop) - max(0, start)
        inside, there = max(0, -start), max(0, start)
        places.append((slice(inside, inside + overlap), slice(there, there + overlap)))
    return (places[0][0], places[1][0]), (places[0][1], places[1][1])


def _cropped(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """An array (H, W, …) of the resized photograph: mirrored, cropped, zeros around it."""
    if geometry.flip:
        array = np.fliplr(array)
    inside, there = _window(geometry)
    crop = np.zeros((geometry.crop, geometry.crop, *array.shape[2:]), dtype=array.dtype)
    crop[inside] = array[there]
    return crop


def classifier_sample(
    photo: Path, saliency: Path, geometry: Geometry
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stage 0's sample: the jittered crop (3, S, S) and its saliency map (1, S, S)."""
    from torchvision.transforms import ColorJitter

    image = Image.open(photo).convert("RGB").resize(geometry.size, Image.Resampling.BICUBIC)
    image = ColorJitter(0.3, 0.3, 0.3, 0.1)(image)
    crop = _cropped(normalised(image), geometry)
    salient = Image.open(saliency).convert("L").resize(geometry.size, Image.Resampling.BILINEAR)
    shown = _cropped(np.asarray(salient) / 255.0, geometry).astype(np.float32)
    return torch.from_numpy(crop.transpose(2, 0, 1).copy()), torch.from_numpy(shown[None])


def self_training_sample(
    photo: Path, maps: Path, geometry: Geometry, *, num_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stage 2's sample: the crop (3, S, S) and the fused maps (C, S/4, S/4) of all classes.

    The maps are unpacked as planes of float64 of all classes, as in the release.
    """
    image = Image.open(photo).convert("RGB")
    planes = np.zeros((num_classes, image.height, image.width))
    for c, plane in np.load(maps, allow_pickle=True).item().items():
        planes[c] = plane
    crop = _cropped(normalised(image.resize(geometry.size, Image.Resampling.BICUBIC)), geometry)
    resized = F.interpolate(
        torch.from_numpy(planes)[None],
        size=geometry.size[::-1],
        mode="bilinear",
        align_corners=False,
    )
    cut = _cropped(resized[0].permute(1, 2, 0).numpy(), geometry).transpose(2, 0, 1)
    side = geometry.crop // 4
    fused = F.interpolate(
        torch.from_numpy(cut.copy())[None], size=(side, side), mode="bilinear", align_corners=True
    )
    return torch.from_numpy(crop.transpose(2, 0, 1).copy()), fused[0].float()


def evaluate(pairs: Sequence[tuple[Path, Path]], *, num_classes: int) -> np.ndarray:
    """IoU of each class over (mask, true mask) files: three sums an image and class."""
    true, found, both = (np.zeros(num_classes) for _ in range(3))
    for mask_path, truth_path in pairs:
        mask, truth = np.array(Image.open(mask_path)), np.array(Image.open(truth_path))
        counted = truth < 255
        right = (mask == truth) * counted
        for c in range(num_classes):
            found[c] += np.sum((mask == c) * counted)
            true[c] += np.sum((truth == c) * counted)
            both[c] += np.sum((truth == c) * right)
    union = true + found - both
    return np.divide(both, union, out=np.full(num_classes, np.nan), where=union > 0)
