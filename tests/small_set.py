"""A data set of eight small pictures in VOC layout, and the entry scripts run on it inside this
process."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from smaf import gen_fusion, gen_pm, train_eps, train_fusion
from smaf.core.command import run_command
from smaf.core.fused_maps import read_fused
from smaf.core.images import write_mask
from smaf.models.export import can_export

CLASSES = ("ball", "box", "tent")
COLOURS = ((220, 60, 40), (50, 200, 70), (60, 80, 230))
# id: width, height, the classes it shows
PICTURES = {
    "p0": (60, 48, (0,)),
    "p1": (48, 60, (1,)),
    "p2": (60, 48, (2,)),
    "p3": (60, 48, (0, 1)),
    "p4": (60, 48, (1, 2)),
    "p5": (56, 48, (0, 2)),
    "p6": (60, 44, (0,)),
    "p7": (60, 48, (1, 2)),
}
TRAIN = tuple(PICTURES)[:6]
SGD = ("--optimiser", "sgd", "--lr", "0.01", "--momentum", "0.9")
ADAMW = ("--optimiser", "adamw", "--lr", "0.001")
# A network of 0.1 million parameters that needs no download
NETWORK = ("--backbone", "test_efficientnet", "--weights", "none")
_TRAINING = ("--crop", "64", "--resize_long", "48", "72", "--batch_size", "2")
needs_export = pytest.mark.skipif(not can_export(), reason="this PyTorch does not export")
_RUN = ("--num_workers", "0", "--device", "cpu")


def _shape(draw: Any, kind: int, box: tuple[int, int, int, int], fill: Any) -> None:
    left, top, right, bottom = box
    if kind == 0:
        draw.ellipse(box, fill=fill)
    elif kind == 1:
        draw.rectangle(box, fill=fill)
    else:
        draw.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=fill)


def make_set(root: Path, *, masks: bool = True) -> Path:
    """Write the data set: lists train (6 ids), val (2) and all; class names, labels.csv, saliency
    maps, masks."""
    for folder in ("JPEGImages", "SALImages", "ImageSets/Segmentation", "metadata/small"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["image,labels"]
    for image_id, (w, h, shown) in PICTURES.items():
        photo = Image.fromarray(rng.integers(100, 140, (h, w, 3)).astype(np.uint8))
        mask = Image.new("L", (w, h))
        for place, kind in enumerate(shown):
            left = 4 + place * (w // 2)
            box = (left, 8, left + w // 2 - 10, h - 10)
            _shape(ImageDraw.Draw(photo), kind, box, COLOURS[kind])
            _shape(ImageDraw.Draw(mask), kind, box, kind + 1)
        values = np.array(mask)
        photo.save(root / "JPEGImages" / f"{image_id}.jpg", quality=95)
        Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8)).save(
            root / "SALImages" / f"{image_id}.png"
        )
        if masks:
            values[0] = 255
            write_mask(root / "SegmentationClassAug" / f"{image_id}.png", values)
        rows.append(f"{image_id}.jpg,{';'.join(CLASSES[kind] for kind in shown)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "metadata/small/labels.txt").write_text("0 background\n1 ball\n2 box\n3 tent\n")
    lists = {"train": TRAIN, "val": tuple(PICTURES)[6:], "all": tuple(PICTURES), "train_aug": TRAIN}
    for name, ids in lists.items():
        write_list(root, name, ids)
    return root


def write_list(root: Path, name: str, ids: Sequence[str]) -> None:
    """Write a list of ids."""
    (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines on standard error, without progress bars."""
        lines = [line.strip() for line in re.split(r"[\r\n]", self.err)]
        return [
            line
            for line in lines
            if line and not re.search(r"\d+%\||(step|image)/s\b|\bs/(step|image)\b", line)
        ]


def run(main: Callable[[Sequence[str] | None], None], *argv: object) -> Done:
    """Run an entry script's `main` as its command would."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run_command(main, [str(word) for word in argv])
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Done(status, out.getvalue(), err.getvalue())


def good(done: Done) -> Done:
    """Return `done` where the command succeeded."""
    assert done.status == 0, done.err
    return done


def stage0(root: Path, out: Path, *extra: object) -> Done:
    """Stage 0 with the tiny network."""
    return run(
        train_eps.main,
        "--data_root",
        root,
        "--list",
        "train",
        "--out",
        out,
        *NETWORK,
        *_TRAINING,
        *_RUN,
        *extra,
    )


def stage1(root: Path, weights: Path, out: Path, *extra: object) -> Done:
    """Stage 1 on all pictures, two scales."""
    return run(
        gen_fusion.main,
        "--data_root",
        root,
        "--list",
        "all",
        "--weights",
        weights,
        "--out",
        out,
        "--scales",
        "0.5",
        "1.0",
        *_RUN,
        *extra,
    )


def stage2(root: Path, weights: Path, cams: Path, out: Path, *extra: object) -> Done:
    """Stage 2 with the tiny network."""
    return run(
        train_fusion.main,
        "--data_root",
        root,
        "--list",
        "train",
        "--weights",
        weights,
        "--cam_dir",
        cams,
        "--out",
        out,
        *_TRAINING,
        *_RUN,
        *extra,
    )


def stage3(root: Path, out: Path, *extra: object) -> Done:
    """Stage 3; name --weights or --cam_dir."""
    return run(
        gen_pm.main,
        "--data_root",
        root,
        "--list",
        "all",
        "--out",
        out,
        "--scales",
        "0.5",
        "1.0",
        *_RUN,
        *extra,
    )


def near_ties(fused: Path, *, threshold: float = 0.2) -> np.ndarray:
    """(H, W): where the background and the stored maps' two best are so close that rounding may
    decide."""
    maps = list(read_fused(fused, num_classes=len(CLASSES)).values())
    values = np.sort(np.stack([np.full(maps[0].shape, threshold), *maps]), axis=0)
    close: np.ndarray = values[-1] - values[-2] < 0.0021
    return close


def weights_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a classifier file, or of a checkpoint's model."""
    value = torch.load(path, weights_only=True)
    state: dict[str, Tensor] = value["state_dict"] if "state_dict" in value else value["model"]
    return state


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two state dicts agree bit for bit."""
    assert a.keys() == b.keys()
    return all(torch.equal(a[key], b[key]) for key in a)


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference between two state dicts."""
    assert a.keys() == b.keys()
    return max(float((a[key].double() - b[key].double()).abs().max()) for key in a)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file below `folder`."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in files
    }
