r"""The permutohedral lattice: Gaussian filters of many dimensions in time linear in the pixels.

Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice,
Eurographics 2010. Features f of d dimensions, in standard deviations of the Gaussian, are laid into
the hyperplane :math:`\sum_j e_j = 0` of d + 1 dimensions, where the lattice's vertices are integer
points whose coordinates leave one remainder r by d + 1. Each point lies in a simplex of d + 1
vertices, one of each remainder, and shares its value among them (splat); the vertices' values are
blurred along the d + 1 axes; the point takes its value back (slice).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smaf.core.compiled import compiled

_BLOCK = 256  # points whose simplices are sought together: their arrays stay in the fastest cache
_ROOM = 1 << 13  # vertices at first; a power of two, as the hash table's mask needs it
_MULTIPLIER = np.int64(-7046029254386353131)  # 2⁶⁴ over the golden ratio: spreads keys evenly


@compiled
def _elevate(features, scale, start, size, elevated, total):  # type: ignore[no-untyped-def]
    """Features (d, N) of the points from `start` → (d+1, `size`) in the hyperplane."""
    total[:size] = 0
    for j in range(features.shape[0], 0, -1):
        for p in range(size):
            c = features[j - 1, start + p] * scale[j - 1]
            elevated[j, p] = total[p] - np.float32(j) * c
            total[p] += c
    elevated[0, :size] = total[:size]


@compiled
def _nearest(elevated, size, nearest, rank, off):  # type: ignore[no-untyped-def]
    """The nearest point of remainder 0, and each coordinate's rank by its distance from there."""
    one = elevated.shape[0]
    side, down = np.float32(one), np.float32(1.0 / one)
    off[:size] = 0
    for i in range(one):
        for p in range(size):
            x = elevated[i, p]
            above, below = math.ceil(x * down), math.floor(x * down)
            turn = above if above * side - x < x - below * side else below
            nearest[i, p] = turn * side
            off[p] += np.int32(turn)
            rank[i, p] = 0
    for i in range(one - 1):
        for j in range(i + 1, one):
            for p in range(size):
                less = elevated[i, p] - nearest[i, p] < elevated[j, p] - nearest[j, p]
                rank[i, p] += np.int32(less)
                rank[j, p] += np.int32(not less)
    for i in range(one):  # back into the hyperplane
        for p in range(size):
            place = rank[i, p] + off[p]
            turn = np.int32(place < 0) - np.int32(place >= one)
            rank[i, p] = place + turn * np.int32(one)
            nearest[i, p] += np.float32(turn) * side


@compiled
def _simplices(features, scale, low, stride, axes):  # type: ignore[no-untyped-def]
    """The simplex of each point: its vertex of remainder 0, the ranks, and the points' shares.

    Features (d, N) → keys (N,) int64, ranks (N, d+1) uint8, barycentric weights (N, d+1) float32 in
    the order of the vertices' remainders. `axes` is a tuple of d + 1: its length is known when this
    is compiled, so that its loops unroll.
    """
    one, n = len(axes), features.shape[1]
    d, down = one - 1, np.float32(1.0 / one)
    keys, ranks = np.zeros(n, np.int64), np.empty((n, one), np.uint8)
    weights = np.empty((n, one), np.float32)
    elevated, nearest = np.empty((one, _BLOCK), np.float32), np.empty((one, _BLOCK), np.float32)
    rank, ordered = np.empty((one, _BLOCK), np.int32), np.empty((one, _BLOCK), np.float32)
    total, off = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        _elevate(features, scale, start, size, elevated, total)
        _nearest(elevated, size, nearest, rank, off)
        for i in range(d):
            for p in range(size):
                keys[start + p] += (np.int64(nearest[i, p]) - low[i]) * stride[i]
        for i in range(one):
            for p in range(size):
                ordered[rank[i, p], p] = (elevated[i, p] - nearest[i, p]) * down
        for p in range(size):
            weights[start + p, 0] = np.float32(1) + ordered[d, p] - ordered[0, p]
            for i in range(1, one):
                weights[start + p, i] = ordered[d - i, p] - ordered[d - i + 1, p]
            for i in range(one):
                ranks[start + p, i] = rank[i, p]
    return keys, ranks, weights


@compiled
def _corners(keys, ranks, stride, row):  # type: ignore[no-untyped-def]
    """The vertices of the points' simplices: their keys, some of them several times.

    Most points share vertices with the point before and the one `row` points before, which lies
    above it in an image; those are not listed again. Returns for each vertex of a point, by
    remainder, its place in the list, (N, d+1) int32, and the list, (K,) int64.
    """
    n, one = ranks.shape
    places, above = np.empty((n, one), np.int32), np.full((row, one), -1, np.int64)
    listed, count = np.empty(n, np.int64), 0
    everywhere, by_rank = np.sum(stride), np.zeros(one, np.int64)
    for p in range(n):
        for i in range(one):
            by_rank[ranks[p, i]] = stride[i]
        if count + one > len(listed):
            room = np.empty(2 * len(listed) + one, np.int64)
            room[:count] = listed[:count]
            listed = room
        key, here, before = keys[p], p % row, (p - 1) % row
        for r in range(one):
            if r > 0:  # one step along all axes, and d + 1 back along the one of the next rank
                key += everywhere - one * by_rank[one - r]
            if key == above[here, r]:
                places[p, r] = places[p - row, r]
                continue
            above[here, r] = key
            if p > 0 and key == above[before, r]:
                places[p, r] = places[p - 1, r]
            else:
                places[p, r], listed[count] = count, key
                count += 1
    return places, listed[:count]


@compiled
def _neighbours(vertices, stride):  # type: ignore[no-untyped-def]
    """(d+1, 2, M+1) uint32: each vertex's two neighbours along each axis; M where there is none.

    The keys are in rising order, and so are those of their neighbours: one pass an axis finds them,
    without a branch that a processor could guess wrong.
    """
    m, one, everywhere = np.uint32(len(vertices)), len(stride), np.sum(stride)
    near = np.full((one, 2, len(vertices) + 1), m, np.uint32)
    for axis in range(one):
        step = everywhere - one * stride[axis]
        after, before = near[axis, 0], near[axis, 1]
        v = found = np.uint32(0)
        while v < m and found < m:
            key = vertices[v] + step
            after[v] = found if vertices[found] == key else m
            less = np.uint32(vertices[found] < key)
            found += less
            v += np.uint32(1) - less
        for v in range(len(vertices)):
            before[after[v]] = v
        before[m] = m
    return near


@compiled
def _splat(values, scale, ids, weights, lattice, axes, lanes):  # type: ignore[no-untyped-def]
    """Points (N, W) times `scale` (N,) → vertices (M+1, W); `lanes` is a tuple of W."""
    lattice[:] = 0
    for p in range(len(ids)):
        for r in range(len(axes)):
            vertex, share = ids[p, r], scale[p] * weights[p, r]
            for lane in range(len(lanes)):
                lattice[vertex, lane] += share * values[p, lane]


@compiled
def _blur(lattice, near, blurred, lanes):  # type: ignore[no-untyped-def]
    """One axis: v + ½ (n₁ + n₂); the last row, of zeros, stands for neighbours that are missing."""
    half = np.float32(0.5)
    for v in range(len(lattice)):
        for lane in range(len(lanes)):
            beside = lattice[near[0, v], lane] + lattice[near[1, v], lane]
            blurred[v, lane] = lattice[v, lane] + half * beside


@compiled
def _slice(lattice, ids, weights, scale, out, axes, lanes):  # type: ignore[no-untyped-def]
    """Add to the points `out` (N, W) what the vertices give them, times `scale` (N,)."""
    for p in range(len(ids)):
        for r in range(len(axes)):
            vertex, share = ids[p, r], scale[p] * weights[p, r]
            for lane in range(len(lanes)):
                out[p, lane] += share * lattice[vertex, lane]


@dataclass(frozen=True)
class Lattice:
    """The lattice of N points and M vertices; made by :func:`make_lattice`.

    Args:
        ids: (N, d+1) uint32, the vertices of each point's simplex.
        weights: (N, d+1) float32, its shares in them, of sum 1.
        near: (d+1, 2, M+1) uint32, neighbours along each axis, M where there is none.
    """

    ids: np.ndarray
    weights: np.ndarray
    near: np.ndarray

    def add_filtered(
        self, values: np.ndarray, before: np.ndarray, after: np.ndarray, out: np.ndarray
    ) -> None:
        r"""Add to `out` the Gaussian sums of `values`, both (N, W) float32.

        :math:`out_i += after_i \sum_j e^{-|f_i - f_j|^2 / 2} before_j values_j`, j = i included,
        up to a factor that all points have; `before` and `after` are (N,) float32.
        """
        one, rows = len(self.near), self.near.shape[2]
        axes, lanes = (0,) * one, (0,) * values.shape[1]
        lattice, blurred = np.empty((2, rows, len(lanes)), dtype=np.float32)
        _splat(values, before, self.ids, self.weights, lattice, axes, lanes)
        for near in self.near:
            _blur(lattice, near, blurred, lanes)
            lattice, blurred = blurred, lattice
        gain = np.float32(1.0 / (1.0 + 2.0 ** (1 - one)))
        _slice(lattice, self.ids, self.weights, gain * after, out, axes, lanes)


def _key_room(features: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest value of d coordinates, and what one step along each adds to a vertex's key.

    Raises ValueError where the keys of so many vertices do not fit 64 bits.
    """
    d = len(features)
    least, most = (
        edge.astype(np.float64) * scale for edge in (features.min(axis=1), features.max(axis=1))
    )
    low, stride, room = [], [], 1
    for j in range(d):
        lowest = least[j:].sum() - (j * most[j - 1] if j else 0.0)
        highest = most[j:].sum() - (j * least[j - 1] if j else 0.0)
        margin = 3 * (d + 1)  # the simplex's vertices, and their neighbours
        low.append(math.floor(lowest) - margin)
        stride.append(room)
        room *= math.ceil(highest) + margin - low[-1] + 1
    if room >= 2**62:
        raise ValueError("the kernels are too narrow for this image: give wider xy or rgb")
    return np.array(low, dtype=np.int64), np.array([*stride, 0], dtype=np.int64)


def make_lattice(features: np.ndarray, row: int) -> Lattice:
    """Features (d, N) float32, in standard deviations → their lattice.

    Raises ValueError where they are so far apart that the vertices cannot be numbered.
    """
    d = len(features)
    features = np.ascontiguousarray(features, dtype=np.float32)
    i = np.arange(d)
    scale = np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2))
    low, stride = _key_room(features, scale)
    keys, ranks, weights = _simplices(
        features, scale.astype(np.float32), low, stride, (0,) * (d + 1)
    )
    places, listed = _corners(keys, ranks, stride, row)
    order = np.argsort(listed)
    listed = listed[order]
    first = np.concatenate([[True], listed[1:] != listed[:-1]])
    number = np.empty(len(order), dtype=np.uint32)
    number[order] = np.cumsum(first) - 1
    vertices = listed[first]
    return Lattice(number[places], weights, _neighbours(vertices, stride))
