"""Fully connected CRF with Gaussian edge potentials (Krähenbühl and Koltun, NIPS 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from smaf.core.compiled import compiled, tell_of_compiling
from smaf.ops.crf.lattice import make_lattice
from smaf.ops.crf.settings import Bilateral, Gaussian

_NEVER = np.float32(-1e30)  # the exponent of a column that stands for no label
_TINY = 1e-20
_SILENT = 1e-7  # probability below which a block's messages are lost in rounding


@compiled
def _exponents(energy, sums, whole, labels, out, rest, lanes):  # type: ignore[no-untyped-def]
    """Exponents of each point's columns relative to the first one, less the largest: into `out`.

    The first column's own go to `rest` (N,). Its probabilities are what the others leave to 1, and
    so is its message: `whole` (N,), that of ones, less those of the others, `sums` (B, N, W), each
    of which counts `labels` (B, W) times, in multiples of the first one's labels.
    """
    for p in range(len(rest)):
        first, largest = whole[p], np.float32(0)
        for b in range(len(sums)):
            for lane in range(len(lanes)):
                first -= labels[b, lane] * sums[b, p, lane]
        for b in range(len(sums)):
            for lane in range(len(lanes)):
                out[b, p, lane] = energy[b, p, lane] + sums[b, p, lane] - first
                largest = max(largest, out[b, p, lane])
        rest[p] = -largest
        for b in range(len(sums)):
            for lane in range(len(lanes)):
                out[b, p, lane] -= largest


@compiled
def _normalise(q, rest, labels, one, lanes):  # type: ignore[no-untyped-def]
    """In place: (B, N, W) and (N,) over their sum, times `one`: what one label of `rest` has."""
    for p in range(len(rest)):
        total = rest[p]
        for b in range(len(q)):
            for lane in range(len(lanes)):
                total += labels[b, lane] * q[b, p, lane]
        share = one / total
        rest[p] *= share
        for b in range(len(q)):
            for lane in range(len(lanes)):
                q[b, p, lane] *= share


@cache
def tell_once() -> None:
    """Log once a process that the CRF must be compiled first, where it must."""
    tell_of_compiling(_exponents, "the dense CRF")


class _Kernel:
    """One kernel of an image, symmetrically normalised: K' = n K n, n = 1/√(K·1)."""

    def __init__(self, features: np.ndarray, weight: float, row: int) -> None:
        self.lattice, self.weight = make_lattice(features, row), np.float32(weight)
        ones = np.ones((features.shape[1], 1), dtype=np.float32)
        total = np.zeros_like(ones)
        self.lattice.add_filtered(ones, ones[:, 0], ones[:, 0], total)
        self.norm = (1.0 / np.sqrt(total[:, 0] + _TINY)).astype(np.float32)

    def add(self, q: np.ndarray, out: np.ndarray) -> None:
        """`out` += w K' `q`, both (N, W) float32."""
        self.lattice.add_filtered(q, self.norm, self.weight * self.norm, out)


class DenseCrf:
    """Dense CRF of one image: its lattices are built once, for any number of unary energies.

    Arguments and errors are those of :func:`dense_crf`.
    """

    def __init__(
        self,
        image: np.ndarray | Image.Image,
        *,
        gaussian: Gaussian | None = None,
        bilateral: Bilateral | None = None,
    ) -> None:
        pixels = np.asarray(image)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(
                f"expected an RGB image (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}"
            )
        self.shape = pixels.shape[:2]
        place = np.indices(self.shape, dtype=np.float32)[::-1].reshape(2, -1)
        row = self.shape[1]
        self._kernels = []
        if gaussian is not None:
            near = place / np.float32(gaussian.xy)
            self._kernels.append(_Kernel(near, gaussian.weight, row))
        if bilateral is not None:
            colour = pixels.reshape(-1, 3).T.astype(np.float32) / np.float32(bilateral.rgb)
            features = np.concatenate([place / np.float32(bilateral.xy), colour])
            self._kernels.append(_Kernel(features, bilateral.weight, row))

    def __call__(self, unary: np.ndarray, *, steps: int = 10) -> np.ndarray:
        """(T, H, W) energies → (T, H, W) float32 probabilities."""
        columns, kept = _columns(np.asarray(unary))
        counts = np.bincount(columns, minlength=len(kept))
        return self.of_columns(unary[kept], counts, steps=steps)[columns]

    def of_columns(
        self, unary: np.ndarray, counts: Sequence[int] | np.ndarray, *, steps: int = 10
    ) -> np.ndarray:
        """As a call, with labels of equal energies everywhere given once.

        Their energies stay equal at each step. (K, H, W) energies, of `counts` (K,) labels each →
        (K, H, W) float32 probabilities of one label each.
        """
        unary = np.asarray(unary, dtype=np.float32)
        if unary.ndim != 3 or unary.shape[1:] != self.shape or not len(unary):
            h, w = self.shape
            raise ValueError(f"expected energies (T, {h}, {w}), got {unary.shape}")
        if not np.isfinite(unary).all():
            raise ValueError("energies must be finite: clip probabilities above 0 before -log")
        return _MeanField(self._kernels, unary, np.asarray(counts)).run(steps)


class _MeanField:
    """Mean-field inference of K columns.

    The most probable one is never filtered: it has what the others leave to 1. The others, in the
    order of their probability, lie in blocks of `lanes`; a block that is next to 0 everywhere, as
    those of labels that the image does not show soon are, sends no message.
    """

    def __init__(self, kernels: Sequence[_Kernel], unary: np.ndarray, counts: np.ndarray) -> None:
        n, (first, *others) = unary[0].size, np.argsort(unary.mean(axis=(1, 2)), kind="stable")
        width = next((width for width in (1, 2) if len(others) <= width), 4)
        blocks = -(-len(others) // width)
        self.kernels, self.shape, self.order = kernels, unary.shape, [*others, first]
        self.lanes = (0,) * width
        self.energy = np.full((blocks, n, width), _NEVER, dtype=np.float32)
        self.labels = np.zeros((blocks, width), dtype=np.float32)
        for place, column in enumerate(others):
            block, lane = divmod(place, width)
            self.energy[block, :, lane] = (unary[first] - unary[column]).ravel()
            self.labels[block, lane] = counts[column] / counts[first]
        self.share = np.float32(1.0 / counts[first])
        self.q, self.rest = np.empty_like(self.energy), np.empty(n, dtype=np.float32)
        self.whole = np.zeros((n, 1), dtype=np.float32)

    def run(self, steps: int) -> np.ndarray:
        """(K, H, W) float32: the probability of one label of each column."""
        sums = np.zeros_like(self.energy)
        self._update(sums)
        for kernel in self.kernels:
            kernel.add(np.full_like(self.whole, self.share), self.whole)
        for _ in range(steps):
            sums[:] = 0
            for block, out in zip(self.q, sums, strict=True):
                if block.max() > _SILENT:
                    for kernel in self.kernels:
                        kernel.add(block, out)
            self._update(sums)
        planes = np.empty(self.shape, dtype=np.float32)
        for place, column in enumerate(self.order[:-1]):
            block, lane = divmod(place, len(self.lanes))
            planes[column] = self.q[block, :, lane].reshape(self.shape[1:])
        planes[self.order[-1]] = self.rest.reshape(self.shape[1:])
        return planes

    def _update(self, sums: np.ndarray) -> None:
        """Q ← softmax of the energies and messages."""
        _exponents(self.energy, sums, self.whole[:, 0], self.labels, self.q, self.rest, self.lanes)
        np.exp(self.q, out=self.q)
        np.exp(self.rest, out=self.rest)
        _normalise(self.q, self.rest, self.labels, self.share, self.lanes)


def _columns(unary: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(T,): the column of each label; and the first label of each column, all of equal energies."""
    kept: list[int] = []
    columns = np.empty(len(unary), dtype=np.int64)
    for label, plane in enumerate(unary):
        same = (
            k
            for k, first in enumerate(kept)
            if np.array_equal(plane[0], unary[first][0]) and np.array_equal(plane, unary[first])
        )
        columns[label] = next(same, len(kept))
        if columns[label] == len(kept):
            kept.append(label)
    return columns, kept


def dense_crf(
    image: np.ndarray | Image.Image,
    unary: np.ndarray,
    *,
    gaussian: Gaussian | None = None,
    bilateral: Bilateral | None = None,
    steps: int = 10,
) -> np.ndarray:
    r"""Refine label probabilities of an image's pixels by its edges, on the CPU.

    Mean-field inference with Potts compatibility: from :math:`Q_i(l) \propto e^{-U_i(l)}`, `steps`
    times

    .. math:: Q_i(l) \leftarrow \frac{1}{Z_i} \exp\Big(-U_i(l) + \sum_k w_k \sum_j
        \frac{k(f_i, f_j)}{\sqrt{n_i n_j}} Q_j(l)\Big), \quad n_i = \sum_j k(f_i, f_j)

    over the kernels `gaussian` and `bilateral`, whose sums, j = i included, are taken on the
    permutohedral lattice. Gives pydensecrf's masks (symmetric normalisation, its default).

    Args:
        image: (H, W, 3) uint8 RGB, or a PIL RGB image.
        unary: (T, H, W) energies U, such as -log of probabilities clipped above 0.
        gaussian: kernel by place; None: without.
        bilateral: kernel by place and colour; None: without.
        steps: mean-field iterations.

    Returns:
        (T, H, W) float32 probabilities; their argmax is the mask.

    Raises:
        ValueError: the image is no RGB image, shapes differ, an energy is not finite, or a kernel
            is too narrow for the image.

    Example:
        >>> image = np.zeros((1, 4, 3), dtype=np.uint8)  # one colour: the fourth pixel must follow
        >>> probability = np.array([[[0.9, 0.9, 0.9, 0.4]], [[0.1, 0.1, 0.1, 0.6]]])
        >>> refined = dense_crf(image, -np.log(probability), bilateral=Bilateral(4, xy=60, rgb=5))
        >>> refined.argmax(axis=0)
        array([[0, 0, 0, 0]])
    """
    return DenseCrf(image, gaussian=gaussian, bilateral=bilateral)(unary, steps=steps)
