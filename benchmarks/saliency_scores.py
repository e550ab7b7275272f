"""How good saliency maps are: against the union of true masks, or against a teacher's maps.

    python benchmarks/saliency_scores.py --maps MAPS --masks dataset/VOC2012/SegmentationClassAug \
        --list dataset/VOC2012/ImageSets/Segmentation/val.txt

Prints the field's measures (Achanta et al., CVPR 2009): MAE, the mean of |map - truth| over pixels,
then over photographs; F, the highest F-measure (beta² = 0.3) of one threshold for all photographs,
of precision and recall averaged over them; and, of all pixels together, precision, recall and IoU
where maps are at least a half. Void pixels are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smaf.core.classes import IGNORE
from smaf.core.command import run_command
from smaf.core.images import MASK_SUFFIXES, find_image, read_mask, read_saliency
from smaf.data.lists import read_ids

_BETA2 = 0.3


def counts(levels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(2, 256): how many pixels that are not and that are salient have each level 0..255."""
    pairs = truth.astype(np.int64) * 256 + levels
    return np.bincount(pairs, minlength=512).reshape(2, 256)


def scores(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Scores of (levels 0..255, truth True or False), flat arrays of each photograph's pixels.

    >>> scores([(np.array([255, 0]), np.array([True, False]))])["F"]
    1.0
    """
    tables = np.stack([counts(*pair) for pair in pairs])
    levels = np.arange(256)
    wrong = tables[:, 0] @ (levels / 255.0) + tables[:, 1] @ (1.0 - levels / 255.0)
    taken = tables[:, :, ::-1].cumsum(axis=2)[:, :, ::-1].astype(float)  # at least this level
    found, all_taken = taken[:, 1], taken.sum(axis=1)
    shown = np.maximum(tables[:, 1].sum(axis=1), 1)
    precision = np.divide(found, all_taken, out=np.ones_like(found), where=all_taken > 0).mean(0)
    recall = (found / shown[:, None]).mean(0)
    f = (1 + _BETA2) * precision * recall / np.maximum(_BETA2 * precision + recall, 1e-9)
    half, salient = taken.sum(axis=0)[:, 128], tables[:, 1].sum()
    return {
        "images": len(tables),
        "MAE": float((wrong / tables.sum(axis=(1, 2))).mean()),
        "F": float(f.max()),
        "F_level": int(f.argmax()),
        "precision": float(half[1] / max(1, half.sum())),
        "recall": float(half[1] / max(1, salient)),
        "IoU": float(half[1] / max(1, salient + half[0])),
    }


def read_pair(args: argparse.Namespace, image_id: str) -> tuple[np.ndarray, np.ndarray]:
    """A photograph's map and truth as flat arrays, without void pixels."""
    levels = np.asarray(read_saliency(find_image([args.maps], image_id)))
    if args.teacher is not None:
        teacher = read_saliency(find_image([args.teacher], image_id), size=levels.shape[::-1])
        return levels.ravel(), np.asarray(teacher).ravel() >= 128
    path = find_image([args.masks], image_id, suffixes=MASK_SUFFIXES)
    mask = read_mask(path, size=levels.shape[::-1])
    valid = mask != IGNORE
    return levels[valid], mask[valid] > 0


def main(argv: Sequence[str] | None = None) -> None:
    """Print the scores as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=Path, required=True)
    parser.add_argument("--list", type=Path, required=True)
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--masks", type=Path, help="true masks: what is no background is salient")
    truth.add_argument(
        "--teacher", type=Path, help="maps; their pixels of at least 128 are salient"
    )
    args = parser.parse_args(argv)
    print(json.dumps(scores([read_pair(args, i) for i in read_ids(args.list)]), indent=2))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
