"""Class maps refined by a transformer's own attention (CLIP-ES, Lin et al., CVPR 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BOX_SHARE = 0.4  # of a map's maximum: what is above it lies in a box
SINKHORN = 3


def attention_affinity(attention: Tensor, *, prefix: int) -> Tensor:
    r"""Turn attention between tokens into a symmetric affinity of the grid's cells.

    .. math:: D_0 = A, \quad D_{k+1} = \mathrm{rows}(\mathrm{columns}(D_k)), \quad
        S = (D_3 + D_3^\top) / 2

    A is the attention without the rows and columns of the `prefix` tokens; columns and rows divide
    each by its sum (Sinkhorn, three times). CLIP-ES multiplies maps with S·S, which
    :func:`refine_by_affinity` does without making that product.

    Args:
        attention: (T, T), how much token i (row) attends to token j, 0 or more; the mean over heads
            and layers.
        prefix: tokens that are no cells: class token and registers, which come first.

    Returns:
        (h·w, h·w), cells row by row.

    Example:
        >>> attention_affinity(torch.tensor([[9.0, 9, 9], [9, 1, 1], [9, 1, 1]]), prefix=1)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    cells = attention.float()[prefix:, prefix:]
    for _ in range(SINKHORN):
        cells = cells / cells.sum(dim=0, keepdim=True)
        cells = cells / cells.sum(dim=1, keepdim=True)
    return (cells + cells.T) / 2


def strong_boxes(plane: Tensor, *, share: float = BOX_SHARE) -> Tensor:
    """Mark the boxes around the connected parts of a map above `share` of its maximum.

    (h, w) → (h, w) bool. Parts are connected by sides and corners, as OpenCV's contours, which
    CLIP-ES draws, are.

    Example:
        >>> strong_boxes(torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [0, 0, 0.4]])).int()
        tensor([[1, 1, 0],
                [1, 1, 0],
                [0, 0, 0]], dtype=torch.int32)
    """
    strong = plane > share * plane.max()
    numbers = torch.arange(1, plane.numel() + 1, device=plane.device, dtype=torch.float32)
    parts = numbers.reshape(plane.shape) * strong
    while True:  # each cell takes the largest number of its neighbours, until all of a part agree
        spread = F.max_pool2d(parts[None], 3, stride=1, padding=1)[0] * strong
        if torch.equal(spread, parts):
            break
        parts = spread
    boxes = torch.zeros_like(strong)
    for number in parts[strong].unique():
        rows, columns = (parts == number).nonzero().T
        boxes[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return boxes


def refine_by_affinity(maps: Tensor, affinity: Tensor, *, share: float = BOX_SHARE) -> Tensor:
    r"""Let each class's map flow between cells that are alike: S·S·(B ∘ M), class by class.

    M is the map, B its boxes (:func:`strong_boxes`): what lies outside gives nothing, but may take.

    Args:
        maps: (N, n, h, w), 0 or more.
        affinity: (N, h·w, h·w), S of :func:`attention_affinity`.
        share: of a map's maximum, above which cells make the boxes.

    Returns:
        (N, n, h, w) float32.
    """
    boxes = torch.stack(
        [torch.stack([strong_boxes(plane, share=share) for plane in image]) for image in maps]
    )
    columns = (maps.float() * boxes).flatten(2).transpose(1, 2)
    return (affinity @ (affinity @ columns)).transpose(1, 2).reshape(maps.shape)
