"""What users get wrong: each ends in status 2 and one line that names the file and the fix, and
leaves nothing."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import (
    ADAMW,
    CLASSES,
    Done,
    good,
    make_set,
    run,
    stage0,
    stage1,
    stage2,
    stage3,
    write_list,
)

from smaf import evaluate
from smaf.core.images import write_mask


@dataclass(frozen=True)
class Bench:
    """A data set and results of each stage, ready to be damaged."""

    root: Path
    weights: Path
    cams: Path
    pred: Path
    out: Path

    def train(self, *extra: object) -> Done:
        return stage0(self.root, self.out, "--steps", 2, *extra)

    def fuse(self, *extra: object) -> Done:
        return stage1(self.root, self.weights, self.out, *extra)

    def self_train(self, *extra: object) -> Done:
        return stage2(self.root, self.weights, self.cams, self.out, "--steps", 2, *extra)

    def masks(self, *extra: object) -> Done:
        return stage3(self.root, self.out, "--weights", self.weights, *extra)

    def masks_of_maps(self, *extra: object) -> Done:
        return stage3(self.root, self.out, "--cam_dir", self.cams, *extra)

    def score(self, *extra: object) -> Done:
        return run(
            evaluate.main,
            "--data_root",
            self.root,
            "--list",
            "all",
            "--out",
            self.out / "result.json",
            "--pred_dir",
            self.pred,
            *extra,
        )

    def score_maps(self, *extra: object) -> Done:
        return run(
            evaluate.main,
            "--data_root",
            self.root,
            "--list",
            "all",
            "--out",
            self.out / "result.json",
            "--cam_dir",
            self.cams,
            *extra,
        )

    @property
    def photo(self) -> Path:
        return self.root / "JPEGImages/p2.jpg"

    @property
    def mask(self) -> Path:
        return self.root / "SegmentationClassAug/p2.png"

    @property
    def saliency(self) -> Path:
        return self.root / "SALImages/p2.png"

    @property
    def labels(self) -> Path:
        return self.root / "labels.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_set(folder / "set")
    good(stage0(folder / "set", folder / "eps", "--steps", 2, *ADAMW))
    good(stage1(folder / "set", folder / "eps/classifier.pth", folder / "cams"))
    good(stage3(folder / "set", folder / "pred", "--cam_dir", folder / "cams"))
    return folder


@pytest.fixture
def bench(made: Path, tmp_path: Path) -> Bench:
    for name in ("set", "cams", "pred"):
        shutil.copytree(made / name, tmp_path / name)
    shutil.copy(made / "eps/classifier.pth", tmp_path / "weights.pth")
    return Bench(
        tmp_path / "set",
        tmp_path / "weights.pth",
        tmp_path / "cams",
        tmp_path / "pred",
        tmp_path / "out",
    )


def refused(done: Done, folder: Path, *words: str) -> None:
    """Status 2, one line that starts with `error:` and has all `words`, no result and no half of
    one in `folder`."""
    assert done.status == 2, done.err
    assert len(done.lines) == 1 and done.lines[0].startswith("error: "), done.err
    for word in words:
        assert word in done.lines[0], done.lines[0]
    assert "Traceback" not in done.err
    left = [path.name for path in folder.rglob("*")] if folder.is_dir() else []
    assert not {"classifier.pth", "result.json", "p2.npz", "p2.npy", "p2.png"} & set(left), left
    assert not [
        path for path in folder.parent.rglob("*") if path.name.endswith((".part", ".probe"))
    ]


def cut(path: Path, size: int | None = None) -> None:
    """Keep the first half of a file, or its first bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 if size is None else size])


def resize(path: Path) -> None:
    Image.open(path).resize((30, 24), Image.Resampling.NEAREST).save(path)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def tensors(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = torch.load(path, weights_only=True)
    change(value)
    torch.save(value, path)


# name: the damage, the commands that must notice it, the words of their line
Harm = Callable[[Bench], object]
FILES: dict[str, tuple[Harm, tuple[str, ...], tuple[str, ...]]] = {
    "missing photograph": (
        lambda b: b.photo.unlink(),
        ("train", "fuse", "self_train", "masks", "masks_of_maps"),
        ("photograph", "JPEGImages/p2.jpg does not exist", "take its id off the list"),
    ),
    "truncated photograph": (
        lambda b: cut(b.photo),
        ("train", "fuse", "self_train", "masks", "masks_of_maps"),
        ("p2.jpg cannot be read", "truncated", "replace the file"),
    ),
    "empty photograph": (
        lambda b: cut(b.photo, 0),
        ("train", "fuse", "masks"),
        ("p2.jpg cannot be read (it is empty)", "replace the file"),
    ),
    "text for a photograph": (
        lambda b: b.photo.write_text("<html>not found</html>"),
        ("train", "fuse"),
        ("p2.jpg cannot be read", "replace the file"),
    ),
    "missing saliency map": (
        lambda b: b.saliency.unlink(),
        ("train",),
        ("SALImages/p2.png does not exist", "--no_saliency"),
    ),
    "truncated saliency map": (
        lambda b: cut(b.saliency),
        ("train",),
        ("SALImages/p2.png cannot be read", "replace"),
    ),
    "saliency map of another size": (
        lambda b: resize(b.saliency),
        ("train",),
        ("SALImages/p2.png is 30×24 pixels, its photograph is 60×48", "the same size"),
    ),
    "missing mask": (
        lambda b: b.mask.unlink(),
        ("score", "score_maps"),
        ("p2.png does not exist", "off the list"),
    ),
    "truncated mask": (
        lambda b: cut(b.mask),
        ("score", "score_maps"),
        ("Aug/p2.png cannot be read", "replace"),
    ),
    "mask of another size": (
        lambda b: resize(b.mask),
        ("score", "score_maps"),
        ("p2", "is 60×48 pixels, the true mask 30×24", "make it again"),
    ),
    "true mask out of range": (
        lambda b: write_mask(b.mask, np.full((48, 60), 9)),
        ("score", "score_maps"),
        ("p2.png has the values [9]", "--class_names"),
    ),
    "prediction out of range": (
        lambda b: write_mask(b.pred / "p2.png", np.full((48, 60), 4)),
        ("score",),
        ("pred/p2.png has the value 4", "classes 1..3", "--classes"),
    ),
    "colours for a mask": (
        lambda b: Image.new("RGB", (60, 48)).save(b.mask),
        ("score",),
        ("p2.png is a RGB image",),
    ),
    "missing prediction": (
        lambda b: (b.pred / "p2.png").unlink(),
        ("score",),
        ("pred/p2.png", "make them first"),
    ),
    "missing fused map": (
        lambda b: (b.cams / "p2.npz").unlink(),
        ("self_train", "masks_of_maps", "score_maps"),
        ("cams/p2.npz", "does not exist"),
    ),
    "truncated fused map": (
        lambda b: cut(b.cams / "p2.npz"),
        ("self_train", "masks_of_maps", "score_maps"),
        ("cams/p2.npz cannot be read", "run stage 1 (gen_fusion) again"),
    ),
    "empty fused map": (
        lambda b: cut(b.cams / "p2.npz", 0),
        ("self_train", "masks_of_maps", "score_maps"),
        ("cams/p2.npz cannot be read", "run stage 1 (gen_fusion) again"),
    ),
    "path in a list": (
        lambda b: [write_list(b.root, name, ("p0", "../x")) for name in ("train", "all")],
        ("train", "fuse", "self_train", "masks", "score"),
        (".txt: '../x' is not an image id",),
    ),
    "empty list": (
        lambda b: [write_list(b.root, name, ()) for name in ("train", "all")],
        ("train", "fuse"),
        (".txt is empty", "one a line"),
    ),
    "id twice": (
        lambda b: [write_list(b.root, name, ("p0", "p1", "p0")) for name in ("train", "all")],
        ("train", "fuse"),
        (".txt has p0 twice", "each id once"),
    ),
    "missing label file": (
        lambda b: b.labels.unlink(),
        ("train", "fuse", "self_train", "masks"),
        ("has no image-level labels", "smaf prepare"),
    ),
    "id without a label": (
        lambda b: replace(b.labels, "p2.jpg,tent\n", ""),
        ("train", "fuse", "self_train", "masks"),
        ("labels.csv has no labels for p2", "add them"),
    ),
    "unknown class name": (
        lambda b: replace(b.labels, "p2.jpg,tent\n", "p2.jpg,tend\n"),
        ("train", "fuse", "masks"),
        ("labels.csv, line 4: unknown class name 'tend'", ", ".join(CLASSES)),
    ),
    "no columns": (
        lambda b: replace(b.labels, "image,labels", "id,shows"),
        ("train",),
        ("labels.csv must have the columns image and labels",),
    ),
    "no data set": (
        lambda b: shutil.rmtree(b.root),
        ("train", "fuse", "self_train", "masks", "score"),
        ("set does not exist", "--data_root"),
    ),
    "truncated weights": (
        lambda b: cut(b.weights),
        ("fuse", "self_train", "masks"),
        ("weights.pth cannot be read",),
    ),
    "text for weights": (
        lambda b: b.weights.write_text("<html>"),
        ("fuse", "masks"),
        ("weights.pth cannot be read",),
    ),
    "missing weights": (
        lambda b: b.weights.unlink(),
        ("fuse", "self_train", "masks"),
        ("weights.pth does not exist", "--weights"),
    ),
    "weights of other classes": (
        lambda b: tensors(
            b.weights, lambda value: value["info"].update(class_names=("a", "b", "c"))
        ),
        ("fuse", "self_train", "masks"),
        ("weights.pth have the classes a, b, c", "--classes"),
    ),
    "weights of another shape": (
        lambda b: tensors(
            b.weights, lambda value: value["state_dict"].update({"fc8.weight": torch.zeros(2, 2)})
        ),
        ("fuse",),
        ("weights.pth: fc8.weight is (2, 2)", "expected the head's", "take the file"),
    ),
}
ROWS = [
    pytest.param(harm, command, words, id=f"{name}-{command}")
    for name, (harm, commands, words) in FILES.items()
    for command in commands
]


@pytest.mark.parametrize(("harm", "command", "words"), ROWS)
def test_file_that_is_not_as_it_must_be(
    harm: Harm, command: str, words: tuple[str, ...], bench: Bench
) -> None:
    harm(bench)
    refused(getattr(bench, command)(), bench.out, *words)


@pytest.mark.parametrize("harm", ["photograph", "saliency map", "fused map"])
def test_error_in_a_reading_process_is_one_line_too(harm: str, bench: Bench) -> None:
    path = {
        "photograph": bench.photo,
        "saliency map": bench.saliency,
        "fused map": bench.cams / "p2.npz",
    }[harm]
    cut(path)
    command = bench.self_train if harm == "fused map" else bench.train
    refused(command("--num_workers", 2), bench.out, f"error: {harm} {path} cannot be read")
    assert not multiprocessing.active_children()  # Python waits for them at its exit


class _Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_pickles_that_would_run_code_do_not(bench: Bench, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    bench.labels.unlink()
    trap = np.array({"p0": _Code(marker)}, dtype=object)
    np.save(bench.root / "metadata/small/cls_labels.npy", trap)
    refused(bench.train(), bench.out, "cls_labels.npy cannot be read (it asks for posix.mkdir")
    (bench.cams / "p2.npz").unlink()
    np.save(bench.cams / "p2.npy", trap)
    refused(bench.score_maps(), bench.out, "p2.npy cannot be read (it asks for posix.mkdir")
    for suffix in ("pth", "params"):
        path = tmp_path / f"trap.{suffix}"
        path.write_bytes(pickle.dumps({"state_dict": _Code(marker)}, protocol=2))
        refused(bench.train("--weights", path), bench.out, f"{path} cannot be read as tensors")
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the trap is a real one
    assert marker.is_dir()


def test_checkpoint_that_is_not_as_it_must_be(bench: Bench) -> None:
    good(bench.train())
    path = bench.out / "checkpoint.pth"
    whole = path.read_bytes()
    (bench.out / "classifier.pth").unlink()
    cut(path)
    refused(bench.train(), bench.out, "checkpoint.pth cannot be read as tensors")
    torch.save({"weights": torch.zeros(1)}, path)
    refused(bench.train(), bench.out, "checkpoint.pth has no model", "--overwrite")
    path.write_bytes(whole)
    tensors(path, lambda value: value["model"].pop("fc8.weight"))
    refused(
        bench.train(),
        bench.out,
        "checkpoint.pth does not fit this training",
        "fc8.weight",
        "--overwrite",
    )
    good(bench.train("--overwrite"))
