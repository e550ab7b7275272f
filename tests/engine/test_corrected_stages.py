"""Corrected masks in stages 2 and 4: what they teach, what is told, what notices a change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_set import (
    ADAMW,
    PICTURES,
    SGD,
    TRAIN,
    Done,
    distance,
    good,
    make_set,
    run,
    same,
    stage2,
    weights_of,
)
from test_resume import ask_to_stop
from test_two_processes import torchrun

from smaf import evaluate, train_fusion, train_seg
from smaf.core.class_maps import maps_of_mask
from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import write_mask
from smaf.data.layout import DataRoot, open_data
from smaf.engine.corrections import corrections_of
from smaf.engine.stages.train_fusion import ProdaSettings, SelfTrainingSettings, SelfTrainingTask
from smaf.models import ClassifierOutput
from smaf.ops import par_maps

NETWORK = ("--network", "test_efficientnet", "--weights", "none", "--crop", 64)
NETWORK += ("--resize_long", 48, 72, "--accumulate", 1)
ONE = ("--num_workers", 0, "--device", "cpu")
SOFT = ("--soft_background", *ADAMW)
STRIPES = np.tile(np.array([0, 1, 255, 1], np.uint8), (48, 15))  # of p0, which shows a ball


@pytest.fixture
def corrected(tmp_path: Path) -> Path:
    """The small set, where p0 and p6, which is not trained on, have corrected masks."""
    root = make_set(tmp_path / "set")
    write_mask(root / "CorrectedMasks/p0.png", STRIPES)
    write_mask(root / "CorrectedMasks/p6.png", np.full((44, 60), 2, np.uint8))
    return root


@pytest.fixture
def pseudo(tmp_path: Path) -> Path:
    """Pseudo masks, each of one class; none of p0."""
    for image_id, (w, h, shown) in PICTURES.items():
        if image_id != "p0":
            mask = np.zeros((h, w), np.uint8)
            mask[8:-8, 8:-8] = shown[0] + 1
            write_mask(tmp_path / "pseudo" / f"{image_id}.png", mask)
    return tmp_path / "pseudo"


def stage4(root: Path, targets: Path, out: Path, *extra: object) -> Done:
    words = ("--data_root", root, "--list", "train", "--target_dir", targets, "--out", out)
    return run(train_seg.main, *words, *NETWORK, *ONE, "--batch_size", 2, *extra)


def test_stage_2_learns_what_maps_of_the_mask_teach(
    corrected: Path, classifier: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights as by a folder of maps where p0's say what the mask says; also in parts."""
    replaced, shown = tmp_path / "replaced", tmp_path / "without"
    for folder in (replaced, shown):
        shutil.copytree(cams, folder)
        (folder / "p0.npz").unlink()
    write_fused(replaced / "p0.npz", maps_of_mask(STRIPES, [0]), (48, 60))
    ours = tmp_path / "ours"
    done = good(stage2(corrected, classifier, shown, ours, "--steps", 4, *SOFT, "--corrected"))
    assert "1 of 6 photographs have corrected masks" in done.lines
    good(stage2(corrected, classifier, replaced, tmp_path / "theirs", "--steps", 4, *SOFT))
    good(stage2(corrected, classifier, cams, tmp_path / "plain", "--steps", 4, *SOFT))
    weights = weights_of(ours / "classifier.pth")
    assert same(weights, weights_of(tmp_path / "theirs/classifier.pth"))
    assert not same(weights, weights_of(tmp_path / "plain/classifier.pth"))
    again = (corrected, classifier, shown, tmp_path / "parts", "--steps", 4, *SOFT, "--corrected")
    with monkeypatch.context() as patch:
        ask_to_stop(patch, 2)
        assert stage2(*again).status == 130
    assert any("goes on at step 2 of 4" in line for line in good(stage2(*again)).lines)
    assert same(weights, weights_of(tmp_path / "parts/classifier.pth"))


def test_stage_4_learns_the_corrected_mask(corrected: Path, pseudo: Path, tmp_path: Path) -> None:
    done = good(stage4(corrected, pseudo, tmp_path / "ours", "--steps", 3, *SGD, "--corrected"))
    assert "1 of 6 photographs have corrected masks" in done.lines
    without = stage4(corrected, pseudo, tmp_path / "plain", "--steps", 3, *SGD)
    assert without.status == 2 and "p0.png (and 0 more) does not exist" in without.lines[-1]
    shutil.copytree(pseudo, tmp_path / "replaced")
    write_mask(tmp_path / "replaced/p0.png", STRIPES)
    good(stage4(corrected, tmp_path / "replaced", tmp_path / "theirs", "--steps", 3, *SGD))
    one, two = (weights_of(tmp_path / name / "segmenter.pth") for name in ("ours", "theirs"))
    assert same(one, two)


def test_a_changed_correction_is_noticed(corrected: Path, pseudo: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "out", ("--steps", 1, *SGD)
    write_mask(pseudo / "p0.png", STRIPES)
    good(stage4(corrected, pseudo, out, *words, "--corrected"))
    again = good(stage4(corrected, pseudo, out, *words, "--corrected"))
    assert "is finished" in again.lines[-1]
    done = stage4(corrected, pseudo, out, *words)
    assert done.status == 2 and "corrected was True, is False" in done.lines[0]
    changed = np.array(STRIPES)
    changed[0, 0] = 1  # a file of the same size or not: what is in it counts
    write_mask(corrected / "CorrectedMasks/p0.png", changed)
    done = stage4(corrected, pseudo, out, *words, "--corrected")
    assert done.status == 2
    assert "(contents of --corrected changed): use --overwrite" in done.lines[-1]
    write_mask(corrected / "CorrectedMasks/p0.png", STRIPES)
    (corrected / "CorrectedMasks/p6.png").unlink()  # not of the list
    good(stage4(corrected, pseudo, out, *words, "--corrected"))


def test_a_folder_of_an_earlier_version_had_none(
    corrected: Path, pseudo: Path, tmp_path: Path
) -> None:
    write_mask(pseudo / "p0.png", STRIPES)
    good(stage4(corrected, pseudo, tmp_path / "out", "--steps", 1, *SGD))
    record = tmp_path / "out/run.json"
    entries = json.loads(record.read_text())
    del entries[-1]["settings"]["corrected"]
    record.write_text(json.dumps(entries))
    good(stage4(corrected, pseudo, tmp_path / "out", "--steps", 1, *SGD))
    del entries[-1]["settings"]["seed"]
    record.write_text(json.dumps(entries))
    done = stage4(corrected, pseudo, tmp_path / "out", "--steps", 1, *SGD, "--corrected")
    assert done.status == 2 and "corrected was False, is True" in done.lines[-1]


def test_a_drawn_class_counts_as_shown(
    corrected: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    """p0's label is ball alone; somebody drew a tent. The file stays, the label gains it."""
    labels = (corrected / "labels.csv").read_text()
    write_mask(corrected / "CorrectedMasks/p0.png", np.full((48, 60), 3, np.uint8))
    data = open_data(corrected)
    found = corrections_of(data, list(TRAIN))
    assert found.ids == {"p0"} and found.data.gained == (("p0", 2),)
    assert found.data.labels_of(["p0", "p1"]).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert data.labels_of(["p0"]).tolist() == [[1, 0, 0]]
    words = ("--steps", 1, *SOFT, "--corrected", "--val_list", "train", "--val_every", 1)
    done = good(stage2(corrected, classifier, cams, tmp_path / "out", *words))
    assert (
        f"corrected masks of 1 photographs show classes that {corrected / 'labels.csv'} does not "
        "name (p0: tent): they count as shown; that file stays as it is"
    ) in done.lines
    assert (corrected / "labels.csv").read_text() == labels
    # a photograph of nothing: the same
    (corrected / "labels.csv").write_text(labels.replace("p0.jpg,ball", "p0.jpg,"))
    found = corrections_of(open_data(corrected), list(TRAIN))
    assert found.data.shown(["p0"]) == ["p0"] and open_data(corrected).shown(["p0"]) == []


def test_bad_ones_are_one_line(
    corrected: Path, classifier: Path, cams: Path, pseudo: Path, tmp_path: Path
) -> None:
    path, out = corrected / "CorrectedMasks/p0.png", tmp_path / "out"

    def said(*parts: str) -> None:
        for done in (
            stage2(corrected, classifier, cams, out, "--steps", 1, "--corrected"),
            stage4(corrected, pseudo, out, "--steps", 1, "--corrected"),
        ):
            assert done.status == 2 and len(done.lines) == 1, done.err
            assert all(part in done.lines[0] for part in parts), done.lines
            assert not (out / "checkpoint.pth").exists()

    write_mask(path, np.zeros((60, 48), np.uint8))
    said(f"mask {path} is 48×60 pixels, its photograph is 60×48: make them the same size")
    write_mask(path, np.full((48, 60), 4, np.uint8))
    said(f"mask {path} has the values [4], but the data set's classes are 1..3")
    path.write_bytes(b"no image")
    said(f"mask {path}")
    path.unlink()
    said(f"--corrected: no photograph of the list has a mask in {corrected / 'CorrectedMasks'}")
    write_mask(path, STRIPES)
    done = stage4(corrected, pseudo, out, "--true_masks", "--corrected")
    assert done.lines == ["error: --true_masks and --corrected exclude each other: choose one"]


def test_evaluation_reads_true_masks_alone(
    corrected: Path, pseudo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a corrected mask is read")

    monkeypatch.setattr(DataRoot, "corrected", refuse)
    words = ("--data_root", corrected, "--list", "val", "--pred_dir", pseudo)
    score = good(run(evaluate.main, *words)).out
    shutil.rmtree(corrected / "CorrectedMasks")
    assert good(run(evaluate.main, *words)).out == score


def test_prototypes_do_not_weigh_what_people_corrected() -> None:
    """ProDA's weights are 0 for an unseen class: the pseudo map goes, the corrected one stays."""
    task = SelfTrainingTask.__new__(SelfTrainingTask)
    task.settings = SelfTrainingSettings(proda=ProdaSettings(rectify="cosine"))
    task.prototypes = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    features = torch.ones(2, 2, 1, 1) * torch.tensor([1.0, 0.0])[None, :, None, None]
    output = ClassifierOutput(torch.zeros(2, 1), torch.zeros(2, 2, 1, 1), features)
    task.teacher = lambda _: output  # type: ignore[assignment]
    batch = {
        "whole": torch.zeros(2, 3, 1, 1),
        "labels": torch.ones(2, 1),
        "grid": torch.zeros(2, 1, 1, 2),
        "corrected": torch.tensor([True, False]),
    }
    fused = task._rectified(torch.full((2, 1, 1, 1), 0.75), batch)
    assert fused[0].item() == 0.75 and fused[1].item() < 0.75


@pytest.mark.slow
def test_two_processes_take_them_as_one(
    corrected: Path, classifier: Path, cams: Path, pseudo: Path, tmp_path: Path
) -> None:
    # every process has as many pixels to learn from: no padding, and nothing ignored
    write_mask(corrected / "CorrectedMasks/p0.png", np.minimum(STRIPES, 1))
    shared = ("--data_root", corrected, "--list", "train", "--corrected", "--crop", 32)
    shared = (*shared, "--resize_long", 48, 72, "--steps", 2)
    two = (*shared, "--weights", classifier, "--cam_dir", cams, "--soft_background", *SGD)
    net = ("--network", "test_efficientnet", "--weights", "none", "--accumulate", 1)
    four = (*shared, "--target_dir", pseudo, *net, "--lr", 0.5)
    for main, words, name in (
        (train_fusion, two, "classifier.pth"),
        (train_seg, four, "segmenter.pth"),
    ):
        out = tmp_path / name
        good(run(main.main, *words, "--out", out / "one", "--batch_size", 4, *ONE))
        err = torchrun(f"{main.__name__[5:]}", *words, "--out", out / "two", "--batch_size", 2)
        assert err.count("1 of 6 photographs have corrected masks") == 1
        assert distance(weights_of(out / "one" / name), weights_of(out / "two" / name)) < 1e-4


def test_maps_of_photographs_outside_the_list_stay(cams: Path, corrected: Path) -> None:
    """Here p6 is corrected, but not on the list: nothing of it is taken."""
    found = corrections_of(open_data(corrected), list(TRAIN))
    assert found.ids == {"p0"} and set(read_fused(cams / "p6.npz", num_classes=3)) == {0}
    assert corrections_of(open_data(corrected), ["p0"], wanted=False).ids == frozenset()


def test_sharpening_leaves_what_people_corrected() -> None:
    """Stage 2 with --sharpen par: maps at a quarter of the crop, whose image is averaged."""
    task = SelfTrainingTask.__new__(SelfTrainingTask)
    task.settings = SelfTrainingSettings(sharpen="par")
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.rand(2, 3, 32, 32, generator=generator),
        "corrected": torch.tensor([True, False]),
    }
    fused = torch.rand(2, 3, 8, 8, generator=generator)
    sharpened = task._sharpened(fused, batch)
    small = batch["image"].reshape(2, 3, 8, 4, 8, 4).mean(dim=(3, 5))
    assert torch.equal(sharpened[0], fused[0])
    assert torch.allclose(sharpened[1:], par_maps(small[1:], fused[1:]), atol=1e-4)
    assert (sharpened[1] - fused[1]).abs().max() > 0.1
