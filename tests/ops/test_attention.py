"""Affinity, boxes and refinement on grids of 2×2 cells, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from smaf.core.views import Views
from smaf.ops import attention_affinity, fuse_cams, refine_by_affinity, strong_boxes


def test_columns_are_divided_before_rows() -> None:
    """[[1, 3], [1, 1]]: columns give [[1/2, 3/4], [1/2, 1/4]], rows [[2/5, 3/5], [2/3, 1/3]]; for
    2×2 the limit is known: off the diagonal √3/(1 + √3), and three rounds are near it."""
    attention = torch.tensor([[1.0, 3.0], [1.0, 1.0]])
    d = np.array([[1.0, 3.0], [1.0, 1.0]])
    for _ in range(3):
        d /= d.sum(axis=0, keepdims=True)
        d /= d.sum(axis=1, keepdims=True)
    affinity = attention_affinity(attention, prefix=0)
    np.testing.assert_allclose(affinity, (d + d.T) / 2, rtol=1e-6)
    limit = 3**0.5 / (1 + 3**0.5)
    np.testing.assert_allclose(affinity, [[1 - limit, limit], [limit, 1 - limit]], atol=2e-3)


def test_prefix_tokens_take_no_part() -> None:
    """Class token and a register before four cells; two pairs of cells see each other alone."""
    pairs = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    attention = torch.full((6, 6), 7.0)
    attention[2:, 2:] = pairs
    torch.testing.assert_close(attention_affinity(attention, prefix=2), pairs / 2)


def test_refined_map_by_hand() -> None:
    """Cells 0, 1 and 2, 3 are pairs. S = S·S has 1/2 in a pair; 1.0 at cell 0 is shared with cell
    1; cell 3 has 0.3, below 0.4 of the maximum: it is outside the box and gives nothing."""
    half = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    affinity = torch.block_diag(half, half)[None]
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 0.3]]]])
    expected = torch.tensor([[[[0.5, 0.5], [0.0, 0.0]]]])
    torch.testing.assert_close(refine_by_affinity(maps, affinity), expected)
    # at 0.2 both are strong; they touch at a corner: one box around all
    expected = torch.tensor([[[[0.5, 0.5], [0.15, 0.15]]]])
    torch.testing.assert_close(refine_by_affinity(maps, affinity, share=0.2), expected)
    # classes apart, and squared: a swap of cells done twice is none
    swap = torch.eye(4)[[1, 0, 3, 2]][None]
    both = torch.cat([maps, maps.flip(3)], dim=1)
    boxed = torch.tensor([[[[1.0, 0], [0, 0]], [[0, 1.0], [0, 0]]]])
    torch.testing.assert_close(refine_by_affinity(both, swap), boxed)


def test_what_lies_outside_the_boxes_may_take() -> None:
    """All cells alike: S·S has 1/4 everywhere, and the 1.0 of one cell goes to all four."""
    maps = torch.tensor([[[[1.0, 0.1], [0.0, 0.0]]]])
    refined = refine_by_affinity(maps, torch.full((1, 4, 4), 0.25))
    torch.testing.assert_close(refined, torch.full((1, 1, 2, 2), 0.25))


@pytest.mark.parametrize(
    ("plane", "boxes"),
    [
        (["9..", "...", "..9"], ["#..", "...", "..#"]),
        (["9..9", "...9", "...9", "9999"], ["#..#", "...#", "...#", "####"]),
        ([".9.", "9..", "..4"], ["##.", "##.", "..#"]),
        (["...", "..."], ["...", "..."]),
    ],
)
def test_boxes_of_connected_parts(plane: list[str], boxes: list[str]) -> None:
    values = torch.tensor([[0.0 if c == "." else float(c) for c in row] for row in plane])
    if boxes[0] == "#..#":  # a part in the shape of a J: its box is the whole
        boxes = ["####"] * 4
    marked = ["".join(".#"[int(v)] for v in row) for row in strong_boxes(values)]
    assert marked == boxes


class FourCells(torch.nn.Module):
    """Two classes and background; a cell's logits are its colour, its attention a given matrix."""

    mean, std, num_classes = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 2

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(4.0))

    def forward_cam(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 2) * self.factor


def test_fused_maps_are_refined_view_by_view() -> None:
    """The left column's cells attend to each other, the right one's, too: a map that is strong in
    the upper left becomes one that is strong on the left; mirror images do not change that."""
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[:, :, 2] = 255  # background is blue
    pixels[:2, :2] = (255, 0, 0)
    columns = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    tokens = torch.nn.functional.pad(columns, (1, 0, 1, 0), value=0.5)[None]  # a class token
    for views in (Views((1.0,), flip=False), Views((0.5, 1.0))):
        given = {"views": views, "attention": lambda: tokens}
        (refined,) = fuse_cams(
            FourCells(), Image.fromarray(pixels), np.array([1, 0]), **given
        ).values()
        np.testing.assert_allclose(refined[0], refined[-1], rtol=1e-5)
        assert refined[0, 0] > 0.99 and refined[0, -1] < 0.01
    (plain,) = fuse_cams(
        FourCells(), Image.fromarray(pixels), np.array([1, 0]), views=Views((1.0,), flip=False)
    ).values()
    assert plain[-1, 0] < 0.05
