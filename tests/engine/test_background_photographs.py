"""Photographs that show none of the classes, through all stages: background everywhere."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import (
    ADAMW,
    CLASSES,
    PICTURES,
    TRAIN,
    Done,
    good,
    make_set,
    run,
    same,
    stage0,
    stage1,
    stage2,
    stage3,
    weights_of,
    write_list,
)
from test_resume import ask_to_stop
from torch import Tensor

from smaf import evaluate, predict, refine_fusion, test_seg, train_seg
from smaf.core.fused_maps import fused_shape, read_fused
from smaf.core.images import read_mask, write_mask
from smaf.data.layout import open_data
from smaf.engine.demo_report import Folders, picture_row, write_report
from smaf.engine.saliency import check_saliency
from smaf.engine.stages.train_eps import EpsTask
from smaf.engine.trained import trained_classifier
from smaf.engine.training.validation import validation_miou
from smaf.models import build_classifier

NOTHING = {"n0": (60, 48), "n1": (40, 52)}  # a bright disc, as salient as any ball, but none
SEGMENTER = ("--network", "test_efficientnet", "--weights", "none", "--device", "cpu")
SEGMENTER += ("--crop", "64", "--resize_long", "48", "72", "--batch_size", "2")
SEGMENTER += ("--accumulate", "1", "--num_workers", "0")
TOLD = "2 of 8 {} show none of the classes: background everywhere"


@pytest.mark.parametrize("head", ["smaf", "eps"])
def test_stage_0_learns_that_nothing_is_there(head: str) -> None:
    """With either head a few steps on a photograph of nothing raise the background everywhere and
    lower every class's score."""
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", num_classes=3, head=head)
    batch = {
        "image": torch.randn(2, 3, 64, 64),
        "saliency": torch.zeros(2, 1, 64, 64),
        "labels": torch.zeros(2, 3),
    }

    def state() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            output = model(batch["image"])
        return output.cam.softmax(dim=1)[:, -1], output.scores[:, :3]

    background, scores = state()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(10):
        optimiser.zero_grad()
        loss, terms = EpsTask().loss(model, batch)
        loss.backward()
        optimiser.step()
    after, lower = state()
    assert set(terms) == {"classification", "saliency"} and math.isfinite(float(loss.detach()))
    assert (after.mean(dim=(1, 2)) > background.mean(dim=(1, 2)) + 0.05).all()
    assert (lower.mean(dim=1) < scores.mean(dim=1)).all()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set with two photographs of nothing; one of them has no saliency map."""
    root = make_set(tmp_path_factory.mktemp("mixed") / "set")
    rng = np.random.default_rng(1)
    rows = (root / "labels.csv").read_text()
    for image_id, (w, h) in NOTHING.items():
        pixels = rng.integers(100, 140, (h, w, 3)).astype(np.uint8)
        disc = np.hypot(*np.ogrid[-h / 2 : h / 2, -w / 2 : w / 2]) < 14
        pixels[disc] = 230, 220, 60
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{image_id}.jpg", quality=95)
        write_mask(root / "SegmentationClassAug" / f"{image_id}.png", np.zeros((h, w), np.uint8))
        if image_id == "n1":
            salient = Image.fromarray(np.where(disc, 255, 0).astype(np.uint8))
            salient.save(root / "SALImages" / f"{image_id}.png")
        rows += f"{image_id}.jpg,\n"
    (root / "labels.csv").write_text(rows)
    write_list(root, "train", [*TRAIN, *NOTHING])
    write_list(root, "all", [*PICTURES, *NOTHING])
    return root


@pytest.fixture(scope="module")
def eps(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 0's classifier of the mixed set."""
    out = tmp_path_factory.mktemp("mixed0") / "eps"
    done = good(stage0(mixed, out, "--steps", 6, *ADAMW))
    assert done.lines.count(TOLD.format("photographs")) == 1
    return out / "classifier.pth"


@pytest.fixture(scope="module")
def refined(mixed: Path, eps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1's maps, refined with saliency."""
    out = tmp_path_factory.mktemp("mixed1")
    good(stage1(mixed, eps, out / "fused"))
    words = ("--data_root", mixed, "--list", "all", "--cam_dir", out / "fused")
    good(
        run(
            refine_fusion.main,
            *(*words, "--out", out / "refined", "--saliency_weight", 1, "--num_workers", 0),
        )
    )
    for folder in (out / "fused", out / "refined"):
        for image_id, (w, h) in NOTHING.items():
            path = folder / f"{image_id}.npz"
            assert read_fused(path, num_classes=3) == {} and fused_shape(path) == (h, w)
        assert list(read_fused(folder / "p3.npz", num_classes=3)) == [0, 1]
    return out / "refined"


def in_parts(monkeypatch: pytest.MonkeyPatch, train: Callable[[], Done]) -> None:
    """Train, stopped after three steps and taken up again."""
    with monkeypatch.context() as patch:
        ask_to_stop(patch, 3)
        assert train().status == 130
    assert any("goes on at step 3 of 6" in line for line in good(train()).lines)


def test_resumed_stage_0_is_the_same(
    mixed: Path, eps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(monkeypatch, lambda: stage0(mixed, tmp_path / "out", "--steps", 6, *ADAMW))
    assert same(weights_of(eps), weights_of(tmp_path / "out/classifier.pth"))


def test_plain_cam_takes_them_too(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "cls"
    done = good(stage0(mixed, out, "--steps", 2, "--network", "cls"))
    assert TOLD.format("photographs") in done.lines
    good(stage1(mixed, out / "classifier.pth", tmp_path / "cams", "--cam_format", "npy"))
    assert read_fused(tmp_path / "cams/n1.npy", num_classes=3) == {}
    good(stage3(mixed, tmp_path / "masks", "--cam_dir", tmp_path / "cams"))
    assert not read_mask(tmp_path / "masks/n1.png").any()


@pytest.mark.slow
def test_stages_2_to_4_and_what_judges_them(
    mixed: Path, eps: Path, refined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, soft = ("--rectify", "proda", "--moving_prototype"), ("--soft_background", "--steps", 6)
    at = ("--val_list", "train", "--val_every", 6)
    done = good(stage2(mixed, eps, refined, tmp_path / "whole", *soft, *ADAMW, *parts, *at))
    assert done.lines.count(TOLD.format("photographs")) == 1
    again = tmp_path / "parts"
    in_parts(monkeypatch, lambda: stage2(mixed, eps, refined, again, *soft, *ADAMW, *parts))
    student = tmp_path / "whole/classifier.pth"
    assert same(weights_of(student), weights_of(again / "classifier.pth"))
    assert all(torch.isfinite(value).all() for value in weights_of(student).values())
    for crf in ("none", "masks", "maps"):
        out = tmp_path / f"masks_{crf}"
        good(stage3(mixed, out, "--weights", student, "--crf", crf, "--threshold", 0.01))
        for image_id, (w, h) in NOTHING.items():
            mask = read_mask(out / f"{image_id}.png")
            assert mask.shape == (h, w) and not mask.any()
        assert read_mask(out / "p0.png").any()
        (out / "n0.png").unlink()  # the run goes on with a photograph of nothing alone
        good(stage3(mixed, out, "--weights", student, "--crf", crf, "--threshold", 0.01))
        assert not read_mask(out / "n0.png").any()
    words = ("--data_root", mixed, "--list", "train")
    net = (*words, "--target_dir", tmp_path / "masks_maps", *SEGMENTER, *ADAMW)
    done = good(run(train_seg.main, *net, "--out", tmp_path / "net", "--steps", 6))
    assert done.lines.count(TOLD.format("targets")) == 1
    in_parts(
        monkeypatch, lambda: run(train_seg.main, *net, "--out", tmp_path / "net2", "--steps", 6)
    )
    network = tmp_path / "net/segmenter.pth"
    assert same(weights_of(network), weights_of(tmp_path / "net2/segmenter.pth"))
    _judged(mixed, network, refined, tmp_path)


def _judged(mixed: Path, network: Path, refined: Path, out: Path) -> None:
    """Masks where labels are known, and evaluation of masks and maps, on a list with both kinds."""
    words = ("--data_root", mixed, "--list", "all")
    for crf in ((), ("--crf",)):
        known = (*words, "--weights", network, "--label_filter", "logits", "--device", "cpu")
        good(run(test_seg.main, *known, "--out", out / f"known{len(crf)}", *crf))
        assert not read_mask(out / f"known{len(crf)}/n0.png").any()
    report = out / "masks.json"
    good(run(evaluate.main, *words, "--pred_dir", out / "masks_none", "--out", report))
    assert json.loads(report.read_text())["images"] == len(PICTURES) + len(NOTHING)
    sweep = ("--cam_dir", refined, "--sweep", "--out", out / "maps.json")
    good(run(evaluate.main, *words, *sweep))
    assert 0 < json.loads((out / "maps.json").read_text())["miou"] < 1


def test_a_list_of_nothing_alone_is_an_error(mixed: Path, eps: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(mixed, root)
    for name in ("train", "all"):
        write_list(root, name, list(NOTHING))
    said = "n0 and 1 more of the list show none of the classes ball, box, tent: name a list"
    for done in (
        stage0(root, tmp_path / "a", "--steps", 1),
        stage1(root, eps, tmp_path / "b"),
        stage3(root, tmp_path / "c", "--weights", eps),
    ):
        assert done.status == 2 and said in done.lines[-1]
    assert not [path for path in tmp_path.glob("[abc]/*") if path.suffix in {".pth", ".npz"}]


def test_the_share_of_a_process_may_be_nothing_alone(
    mixed: Path, eps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two processes validates on n0: background, as in truth."""
    data = open_data(mixed)
    model = trained_classifier(eps, data)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert validation_miou(model, data, ["p0", "n0"], background=0.2) == 1.0
    check_saliency(data, ["p0", "n0"])


def test_their_row_of_the_report(mixed: Path, eps: Path, refined: Path, tmp_path: Path) -> None:
    """A photograph of nothing has plain pictures, and a target that is background alone."""
    good(stage3(mixed, tmp_path / "masks", "--cam_dir", refined))
    names = ("fused", "fused", "refined")
    for name in {*names}:
        shutil.copytree(refined.parent / name, tmp_path / name)
    data, folders = open_data(mixed), Folders(tmp_path, *names, masks="masks")
    row = picture_row(data, "n1", folders)
    pictures = dict(row.pictures)
    assert row.labels == () and np.array_equal(pictures["pseudo mask"], pictures["truth"])
    write_list(mixed, "one", ["n1", "p0"])
    write_report(tmp_path / "page.html", data, "one", folders, [])
    page = (tmp_path / "page.html").read_text()
    assert (
        '"iou": null, "layers": ["cam", "fused", "target", "mask", "truth"], "name": "n1"' in page
    )


def test_a_missing_row_stays_an_error(mixed: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text((mixed / "labels.csv").read_text().replace("n1.jpg,\n", ""))
    done = stage0(mixed, tmp_path / "out", "--steps", 1, "--labels", labels)
    assert done.status == 2 and "labels.csv has no labels for n1" in done.lines[-1]
    assert not (tmp_path / "out").exists()


def test_classes_that_are_left_out_leave_background(mixed: Path, tmp_path: Path) -> None:
    """Without box and tent p1, p2 and p4 show nothing any more."""
    (tmp_path / "ball.txt").write_text("ball\n")
    done = good(stage0(mixed, tmp_path / "o", "--steps", 1, "--classes", tmp_path / "ball.txt"))
    assert "5 of 8 photographs show none of the classes: background everywhere" in done.lines


def test_predict_with_an_empty_cell(mixed: Path, eps: Path, tmp_path: Path) -> None:
    words = ("--weights", eps, "--labels", mixed / "labels.csv", "--device", "cpu")
    words += ("--cams", "--report")
    done = good(run(predict.main, mixed / "JPEGImages", "--out", tmp_path, *words))
    assert [path.name for path in sorted(tmp_path.glob("*_cam_*")) if path.name[0] == "n"] == []
    assert (tmp_path / "p3_cam_ball.jpg").is_file() and (tmp_path / "p3_cam_box.jpg").is_file()
    assert "Masks of " in (tmp_path / "report.html").read_text()
    assert "n0.jpg: background only" in done.err and not read_mask(tmp_path / "n0.png").any()
    report = json.loads((tmp_path / "predictions.json").read_text())
    shown = {Path(e["photograph"]).stem: e["labels"] for e in report["photographs"]}
    assert shown["n0"] == [] and shown["p3"] == [CLASSES[0], CLASSES[1]]
