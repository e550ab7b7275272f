"""Proposals without a promptable segmenter, for `--proposals` of gen_pm and test_seg, and what
voting with them gives.

Writes `<id>.json` of each photograph of a list, as a promptable segmenter would. Three kinds:

- tree: SLIC's superpixels and all regions of their hierarchy, in which the two neighbours are
  merged whose colours' variance grows least (Ward);
- graph: the segments of Felzenszwalb and Huttenlocher's method at five scales;
- boxes: OpenCV's selective search, which gives boxes, not regions; the first 200.

With `--masks` (folders of masks) the mIoU of each before and after the vote is printed. Needs
scikit-image, for boxes opencv-contrib-python-headless:

    python benchmarks/classical_proposals.py --data_root DATA --list LIST --kind tree --out OUT
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_api
from tqdm import tqdm

from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.core.files import write_json
from smaf.core.images import read_mask
from smaf.core.proposals import proposals_path, read_proposals
from smaf.data.layout import DataRoot, open_data
from smaf.ops import ConfusionMatrix, vote_proposals

SUPERPIXELS, SCALES, BOXES = 200, (50, 100, 200, 400, 800), 200
LEAST = 0.001  # of the photograph, below which a region is no proposal


def neighbours(labels: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of the labels (H, W) that touch, the smaller first."""
    sides = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
    pairs = np.concatenate([np.stack([a[a != b], b[a != b]], axis=1) for a, b in sides])
    return {(int(a), int(b)) for a, b in np.unique(np.sort(pairs, axis=1), axis=0)}


def tree_regions(labels: np.ndarray, colours: np.ndarray) -> list[list[int]]:
    """The regions of a hierarchy of segments, each as the list of its segments.

    `labels` (H, W) are 0..n-1, `colours` (H, W, 3). The n segments come first, then each merged
    region, n - 1 of them where all are connected.
    """
    n = int(labels.max()) + 1
    sizes = np.bincount(labels.ravel(), minlength=n).astype(float).tolist()
    sums = [np.bincount(labels.ravel(), colours[..., k].ravel(), n) for k in range(3)]
    means = [np.array(mean) for mean in np.stack(sums, axis=1) / np.array(sizes)[:, None]]
    members, beside = [[k] for k in range(n)], [set[int]() for _ in range(n)]

    def cost(a: int, b: int) -> float:
        """By how much the sum of squared differences from the mean grows."""
        weight = sizes[a] * sizes[b] / (sizes[a] + sizes[b])
        return weight * float(((means[a] - means[b]) ** 2).sum())

    for a, b in neighbours(labels):
        beside[a].add(b)
        beside[b].add(a)
    heap = [(cost(a, b), a, b) for a in range(n) for b in beside[a] if a < b]
    heapq.heapify(heap)
    gone: set[int] = set()
    while heap:
        _, a, b = heapq.heappop(heap)
        if a in gone or b in gone:
            continue
        new = len(members)
        gone |= {a, b}
        sizes.append(sizes[a] + sizes[b])
        means.append((sizes[a] * means[a] + sizes[b] * means[b]) / sizes[new])
        members.append(members[a] + members[b])
        beside.append((beside[a] | beside[b]) - gone)
        for other in beside[new]:
            beside[other].add(new)
            heapq.heappush(heap, (cost(other, new), other, new))
    return members


def of_tree(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Superpixels and the regions of their hierarchy, each (H, W) bool."""
    from skimage.color import rgb2lab
    from skimage.segmentation import slic

    labels = slic(pixels, n_segments=SUPERPIXELS, compactness=10, start_label=0)
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    for members in tree_regions(labels, rgb2lab(pixels)):
        yield np.isin(np.arange(labels.max() + 1), members)[labels]


def of_graph(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Segments of five scales, each (H, W) bool."""
    from skimage.segmentation import felzenszwalb

    for scale in SCALES:
        labels = felzenszwalb(pixels, scale=scale, sigma=0.8, min_size=100)
        yield from (labels == value for value in np.unique(labels))


def of_boxes(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Selective search's first boxes, each (H, W) bool."""
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(pixels[..., ::-1]))
    search.switchToSelectiveSearchFast()
    for x, y, w, h in search.process()[:BOXES]:
        region = np.zeros(pixels.shape[:2], dtype=bool)
        region[y : y + h, x : x + w] = True
        yield region


KINDS: dict[str, Callable[[np.ndarray], Iterator[np.ndarray]]] = {
    "tree": of_tree,
    "graph": of_graph,
    "boxes": of_boxes,
}


def record(region: np.ndarray) -> dict[str, Any]:
    """A proposal as Segment Anything writes it."""
    code = mask_api.encode(np.asfortranarray(region, dtype=np.uint8))
    counts = {"size": list(region.shape), "counts": code["counts"].decode("ascii")}
    box = [float(value) for value in mask_api.toBbox(code)]
    return {"segmentation": counts, "area": int(region.sum()), "bbox": box}


def make(data: DataRoot, ids: Sequence[str], kind: str, out: Path) -> None:
    """Write the proposals of `ids`; those that are there stay."""
    for image_id in tqdm(ids, desc="proposals"):
        if proposals_path(out, image_id).exists():
            continue
        pixels = np.asarray(data.photo(image_id))
        found = (region for region in KINDS[kind](pixels) if region.mean() >= LEAST)
        write_json(out / f"{image_id}.json", [record(region) for region in found], indent=None)


def scores(data: DataRoot, ids: Sequence[str], masks: Path, proposals: Path) -> tuple[float, float]:
    """The mIoU in % of the masks of a folder, before and after the vote."""
    before, after = (ConfusionMatrix(data.num_classes + 1) for _ in range(2))
    for image_id in tqdm(ids, desc="votes"):
        truth, mask = data.mask(image_id), read_mask(masks / f"{image_id}.png")
        before.update(mask, truth)
        found = read_proposals(proposals, image_id, size=mask.shape[::-1])
        after.update(vote_proposals(mask, found), truth)
    return 100 * before.compute()["miou"], 100 * after.compute()["miou"]


def main(argv: Sequence[str] | None = None) -> None:
    """Make the proposals of a list, and score the vote."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--data_root", "--list", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--classes")
    parser.add_argument("--kind", choices=list(KINDS), default="tree")
    parser.add_argument("--masks", nargs="*", default=[], help="folders of masks to vote on")
    args = parser.parse_args(argv)
    data, out = open_data(args.data_root, classes=args.classes), Path(args.out)
    ids = data.ids(args.list)
    try:
        make(data, ids, args.kind, out)
    except ModuleNotFoundError as error:
        raise InputError(
            f"--kind {args.kind} needs {error.name}: pip install scikit-image, for boxes "
            "opencv-contrib-python-headless"
        ) from error
    for masks in args.masks:
        before, after = scores(data, ids, Path(masks), out)
        print(f"{masks}: mIoU {before:.1f}, after the vote {after:.1f}, {len(ids)} photographs")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
