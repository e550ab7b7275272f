"""Pixel-adaptive refinement (PAR): maps averaged over neighbours of like colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)
ROUNDS = 10
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_WIDTH = 0.3  # of both kernels, in standard deviations
_POSITION = 0.01  # the position's share beside the colours'


def par_maps(
    image: Tensor,
    maps: Tensor,
    *,
    rounds: int = ROUNDS,
    dilations: Sequence[int] = DILATIONS,
    normalise: bool = True,
) -> Tensor:
    r"""Average maps over neighbours of like colour, some rounds: PAR (Ru et al., CVPR 2022, 2023).

    A pixel has 8 neighbours at each dilation, beyond the border the border's pixels. They weigh

    .. math:: w_k = \mathrm{softmax}_k \Big(-\frac{1}{3} \sum_c \Big(
        \frac{I_{kc} - I_c}{0.3 \, \sigma_c}\Big)^2\Big)
        + 0.01 \, \mathrm{softmax}_k \Big(-\Big(\frac{d_k}{0.3 \, \sigma_d}\Big)^2\Big)

    with the colours I, the distance d (the dilation, or √2 times it), and their standard deviations
    σ over the neighbours. By default they are divided by their sum, 1.01: maps that sum to 1 still
    do, and the largest map of a pixel is the published one.

    Args:
        image: (N, 3, H', W') float of any range; a larger one is averaged to the maps' size.
        maps: (N, C, H, W) float, any C.
        rounds: of averaging; 0 gives the maps back.
        dilations: distances of the neighbours in pixels.
        normalise: False: the published weights, which let the maps grow by 1.01 a round.

    Returns:
        (N, C, H, W). Beside them it takes 90 MB for 7 maps of a photograph of 500×375. Raises
        ValueError where there is not a map for each image.

    Example:
        >>> image = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4)  # two surfaces
        >>> maps = torch.tensor([0.0, 1.0, 1.0, 1.0]).expand(1, 1, 4, 4)
        >>> par_maps(image, maps, dilations=(1,))[0, 0, 0].round(decimals=1).tolist()
        [0.5, 0.5, 1.0, 1.0]
    """
    weights = _weights(_sized(image, maps), dilations)
    weights /= 1.0 + _POSITION * normalise
    for _ in range(rounds):
        total = torch.zeros_like(maps)
        for k, beside in enumerate(_neighbours(maps, dilations)):
            total.addcmul_(beside, weights[:, k : k + 1].to(maps))
        maps = total
    return maps


def _sized(image: Tensor, maps: Tensor) -> Tensor:
    """The image at the maps' size, each pixel the mean of its cell; ValueError for other shapes."""
    if image.ndim != 4 or maps.ndim != 4 or len(image) != len(maps):
        raise ValueError(
            f"expected image (N, 3, H, W) and maps (N, C, H, W), got {tuple(image.shape)} and "
            f"{tuple(maps.shape)}"
        )
    if image.shape[2:] == maps.shape[2:]:
        return image.float()
    return F.interpolate(image.float(), size=maps.shape[2:], mode="area")


def _neighbours(planes: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Views of planes (N, C, H, W), moved by each neighbour's place; the border is repeated."""
    edge, (h, w) = max(dilations), planes.shape[2:]
    padded = F.pad(planes, (edge, edge, edge, edge), mode="replicate")
    for dilation in dilations:
        for down, right in _AROUND:
            y, x = edge + down * dilation, edge + right * dilation
            yield padded[:, :, y : y + h, x : x + w]


def _weights(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """(N, K, H, W): the published weights, which sum to 1.01 over the K neighbours."""
    count = len(dilations) * len(_AROUND)
    mean = sum(_neighbours(image, dilations), torch.zeros_like(image)) / count
    variance = torch.zeros_like(image)
    for beside in _neighbours(image, dilations):
        variance += (beside - mean) ** 2
    scale = _WIDTH * ((variance / (count - 1)).sqrt() + 1e-8)
    likeness = image.new_empty(len(image), count, *image.shape[2:])
    for k, beside in enumerate(_neighbours(image, dilations)):
        likeness[:, k] = -(((beside - image) / scale) ** 2).mean(dim=1)
    likeness -= likeness.amax(dim=1, keepdim=True)  # softmax in place
    likeness.exp_()
    likeness /= likeness.sum(dim=1, keepdim=True)
    steps = image.new_tensor(_AROUND).norm(dim=1)
    distance = (image.new_tensor(dilations)[:, None] * steps).flatten()
    nearness = (-((distance / (_WIDTH * (distance.std() + 1e-8))) ** 2)).softmax(dim=0)
    return likeness.add_(_POSITION * nearness[:, None, None])
