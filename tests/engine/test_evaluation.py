"""Evaluation against masks whose IoU is worked out by hand, and the sweep against single
thresholds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_writing import write_png
from PIL import Image
from small_set import PICTURES, good, make_set, run, stage3, write_list

from smaf import evaluate
from smaf.core.fused_maps import write_fused
from smaf.core.images import write_mask
from smaf.core.record import RunRecord
from smaf.engine.evaluation import SWEEP_NOTE

# Two pictures of 2×4 pixels; 255 is ignored
TRUTH = {"p0": [[0, 0, 1, 1], [0, 0, 1, 255]], "p1": [[2, 2, 0, 0], [2, 2, 255, 255]]}
PRED = {"p0": [[0, 1, 1, 1], [0, 0, 0, 1]], "p1": [[2, 2, 2, 0], [2, 0, 1, 3]]}


@pytest.fixture
def hand(tmp_path: Path) -> Path:
    """The data set with true masks and predictions of two pictures, list `two`."""
    root = make_set(tmp_path / "set", masks=False)
    for image_id in TRUTH:
        write_mask(root / "SegmentationClass" / f"{image_id}.png", np.array(TRUTH[image_id]))
        write_mask(tmp_path / "pred" / f"{image_id}.png", np.array(PRED[image_id]))
    write_list(root, "two", tuple(TRUTH))
    return root


def strict(path: Path) -> Any:
    """JSON without NaN and Infinity, which are not JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_numbers_worked_out_by_hand(hand: Path, tmp_path: Path) -> None:
    done = good(
        run(evaluate.main, "--data_root", hand, "--list", "two", "--pred_dir", tmp_path / "pred")
    )
    result = strict(tmp_path / "pred/evaluation_two.json")
    # truth: six 0 (p0: 4, p1: 2), three 1, four 2. Hits: 0: 3 + 1, 1: 2, 2: 3.
    # predicted on counted pixels: 0: p0 (0,0) (1,0) (1,1) (1,2), p1 (0,3) (1,1) = 6; 1: 3; 2: 4
    assert result["iou"] == {
        "background": pytest.approx(4 / 8),
        "ball": pytest.approx(2 / 4),
        "box": pytest.approx(3 / 5),
        "tent": None,
    }
    assert result["precision_per_class"] == {
        "background": pytest.approx(4 / 6),
        "ball": pytest.approx(2 / 3),
        "box": pytest.approx(3 / 4),
        "tent": None,
    }
    assert result["recall_per_class"] == {
        "background": pytest.approx(4 / 6),
        "ball": pytest.approx(2 / 3),
        "box": pytest.approx(3 / 4),
        "tent": None,
    }
    assert result["miou"] == pytest.approx((0.5 + 0.5 + 0.6) / 3)
    assert result["precision"] == result["recall"] == pytest.approx((2 / 3 + 2 / 3 + 3 / 4) / 3)
    assert result["accuracy"] == pytest.approx(9 / 13)
    assert result["fwiou"] == pytest.approx((6 * 0.5 + 3 * 0.5 + 4 * 0.6) / 13)
    assert (result["images"], result["pixels"], result["ignored_pixels"]) == (2, 13, 3)
    assert (result["list"], result["threshold"]) == ("two", None)
    assert result["classes"] == ["background", "ball", "box", "tent"]
    assert "mIoU 53.33 %, accuracy 69.23 %" in done.out and "list two: 2 images" in done.out


def test_dropped_classes_are_ignored(hand: Path, tmp_path: Path) -> None:
    """With `box` alone the three pixels of `ball` are left out, and box is value 1 of the
    predictions."""
    (tmp_path / "keep.txt").write_text("box\n")
    for image_id, mask in PRED.items():
        boxes = (np.array(mask) == 2).astype(np.uint8)
        write_mask(tmp_path / "pred" / f"{image_id}.png", boxes)
    good(
        run(
            evaluate.main,
            "--data_root",
            hand,
            "--list",
            "two",
            "--pred_dir",
            tmp_path / "pred",
            "--classes",
            tmp_path / "keep.txt",
            "--out",
            tmp_path / "box.json",
        )
    )
    result = strict(tmp_path / "box.json")
    assert (result["pixels"], result["ignored_pixels"]) == (10, 6)
    assert result["iou"] == {"background": pytest.approx(5 / 7), "box": pytest.approx(3 / 5)}


def test_mask_folder_can_be_named(hand: Path, tmp_path: Path) -> None:
    for image_id in PRED:
        write_mask(hand / "Other" / f"{image_id}.png", np.array(PRED[image_id]))
    good(
        run(
            evaluate.main,
            "--data_root",
            hand,
            "--list",
            "two",
            "--pred_dir",
            tmp_path / "pred",
            "--mask_dir",
            "Other",
        )
    )
    assert strict(tmp_path / "pred/evaluation_two.json")["miou"] == 1.0


def test_sweep_is_each_threshold_by_itself(hand: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for image_id in TRUTH:
        shown = PICTURES[image_id][2]
        write_fused(
            tmp_path / f"cams/{image_id}.npz",
            {c: rng.random((2, 4), dtype=np.float32) for c in shown},
            (2, 4),
        )
    command = (evaluate.main, "--data_root", hand, "--list", "two", "--cam_dir", tmp_path / "cams")
    done = good(run(*command, "--sweep"))
    result = strict(tmp_path / "cams/evaluation_two.json")
    sweep = {row["threshold"]: row["miou"] for row in result["sweep"]}
    assert list(sweep) == [round(0.02 * k, 2) for k in range(1, 41)]
    for threshold in (0.02, 0.3, 0.56, 0.8):
        good(run(*command, "--threshold", threshold, "--out", tmp_path / "one.json"))
        assert strict(tmp_path / "one.json")["miou"] == sweep[threshold]
    assert len(set(sweep.values())) > 3
    assert result["miou"] == max(sweep.values()) == sweep[result["threshold"]]
    assert result["note"] == SWEEP_NOTE
    assert f"best threshold {result['threshold']:g} on list two: {SWEEP_NOTE}" in done.out
    assert (tmp_path / "cams/evaluation_two.png").read_bytes().startswith(b"\x89PNG")


def test_all_ignored_is_an_error_not_nan(hand: Path, tmp_path: Path) -> None:
    for image_id in TRUTH:
        write_mask(hand / "SegmentationClass" / f"{image_id}.png", np.full((2, 4), 255))
        write_fused(tmp_path / f"cams/{image_id}.npz", {}, (2, 4))
    for extra in (("--pred_dir", tmp_path / "pred"), ("--cam_dir", tmp_path / "cams", "--sweep")):
        done = run(evaluate.main, "--data_root", hand, "--list", "two", *extra)
        assert done.status == 2 and "are all ignored (255)" in done.lines[0]
    assert not list(tmp_path.rglob("evaluation*"))


def one_class(root: Path, tmp_path: Path, truth: dict[int, int], pred: dict[int, int]) -> Any:
    """Evaluate a set whose one class is `ball`: values 0 and 1 of truth and prediction are written
    as named."""
    (root / "metadata/small/labels.txt").write_text("ball\n")
    for image_id, mask in TRUTH.items():
        ball = (np.array(mask) == 1).astype(int)
        write_mask(root / "SegmentationClass" / f"{image_id}.png", np.vectorize(truth.get)(ball))
        write_mask(tmp_path / "pred" / f"{image_id}.png", np.vectorize(pred.get)(ball))
        write_fused(tmp_path / f"cams/{image_id}.npz", {0: ball.astype(np.float32)}, (2, 4))
    return run(evaluate.main, "--data_root", root, "--list", "two", "--pred_dir", tmp_path / "pred")


@pytest.mark.parametrize(
    ("truth", "pred", "words"),
    [
        (
            {0: 0, 1: 255},
            {0: 0, 1: 0},
            r"the true masks of list two below .* have no value but 0 and 255 \(ignored\), as "
            "masks of one class are often written: write 1 for the class",
        ),
        ({0: 0, 1: 255}, {0: 0, 1: 1}, "have no value but 0 and 255"),
        ({0: 0, 1: 0}, {0: 0, 1: 0}, r"the true masks of list two .* are all background \(0\)"),
        ({0: 255, 1: 255}, {0: 0, 1: 0}, "are all ignored"),
        (
            {0: 0, 1: 1},
            {0: 0, 1: 255},
            "the masks in .*pred, where 255 is uncertain and left out, have no value but 0 and 255",
        ),
        (
            {0: 0, 1: 1},
            {0: 255, 1: 255},
            "the masks in .*pred mark every pixel of a class as uncertain",
        ),
        (
            {0: 0, 1: 1},
            {0: 1, 1: 255},
            "the masks in .*pred mark every pixel of a class as uncertain",
        ),
    ],
)
def test_masks_that_can_judge_nothing(
    truth: dict[int, int], pred: dict[int, int], words: str, hand: Path, tmp_path: Path
) -> None:
    done = one_class(hand, tmp_path, truth, pred)
    assert done.status == 2 and len(done.lines) == 1 and re.search(words, done.lines[0]), done.err
    assert "mIoU" not in done.out and not list(tmp_path.rglob("evaluation*"))
    if 1 not in truth.values():
        done = run(
            evaluate.main,
            "--data_root",
            hand,
            "--list",
            "two",
            "--cam_dir",
            tmp_path / "cams",
            "--sweep",
        )
        assert done.status == 2 and "mIoU" not in done.out


def test_predictions_of_background_alone_are_a_bad_result(hand: Path, tmp_path: Path) -> None:
    good(one_class(hand, tmp_path, {0: 0, 1: 1}, {0: 0, 1: 0}))
    result = strict(tmp_path / "pred/evaluation_two.json")  # 13 of 16 pixels are background
    assert result["iou"] == {"background": pytest.approx(13 / 16), "ball": 0.0}
    assert result["miou"] == pytest.approx(13 / 32)


def test_classes_that_the_task_drops_are_told_from_masks_of_0_and_255(
    hand: Path, tmp_path: Path
) -> None:
    (tmp_path / "keep.txt").write_text("tent\n")
    for image_id in PRED:
        write_mask(tmp_path / "pred" / f"{image_id}.png", np.zeros((2, 4)))
    done = run(
        evaluate.main,
        "--data_root",
        hand,
        "--list",
        "two",
        "--pred_dir",
        tmp_path / "pred",
        "--classes",
        tmp_path / "keep.txt",
    )
    assert done.status == 2 and "show none of the classes tent" in done.lines[0]


def test_masks_in_other_kinds_of_files(hand: Path, tmp_path: Path) -> None:
    """Four bits of grey, as optimisers write them, `.PNG` and TIFF: a perfect prediction is one."""
    for image_id, mask in TRUTH.items():
        values = np.where(np.array(mask) == 255, 0, mask)
        (hand / "SegmentationClass" / f"{image_id}.png").unlink()
        (tmp_path / "pred" / f"{image_id}.png").unlink()
        write_png(hand / "SegmentationClass" / f"{image_id}.PNG", values, bits=4)
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / "pred" / f"{image_id}.tif")
    done = good(
        run(evaluate.main, "--data_root", hand, "--list", "two", "--pred_dir", tmp_path / "pred")
    )
    result = strict(tmp_path / "pred/evaluation_two.json")
    assert result["miou"] == 1.0 and result["pixels"] == 16 and result["iou"]["tent"] is None
    assert "no true mask shows tent" in done.out


def test_the_true_masks_as_predictions_are_told(hand: Path, tmp_path: Path) -> None:
    done = good(
        run(
            evaluate.main,
            "--data_root",
            hand,
            "--list",
            "two",
            "--pred_dir",
            hand / "SegmentationClass",
            "--out",
            tmp_path / "e.json",
        )
    )
    assert sum("compared with themselves" in line for line in done.lines) == 1


def test_corrected_masks_of_a_run_are_told(hand: Path, tmp_path: Path) -> None:
    """Those in a run's `masks/`, where the run took some of this list: never in another folder."""
    folder = tmp_path / "run/masks"
    for image_id in TRUTH:
        write_mask(folder / f"{image_id}.png", np.array(PRED[image_id]))
    told = f"warning: {folder} has corrected masks, 1 of them of list two: these are scored here"

    def lines() -> list[str]:
        done = good(run(evaluate.main, "--data_root", hand, "--list", "two", "--pred_dir", folder))
        return [line for line in done.lines if line.startswith(told)]

    write_mask(hand / "CorrectedMasks/p0.png", np.array(TRUTH["p0"]))
    assert lines() == []  # no run's
    RunRecord(folder.parent, {"corrected": False}).write(finished=True)
    assert lines() == []
    RunRecord(folder.parent, {"corrected": True}).write(finished=True)
    (line,) = lines()
    assert line.endswith("not the method's, which are in pseudo_mask/ or network_mask/ beside it")
    (hand / "CorrectedMasks/p0.png").rename(hand / "CorrectedMasks/p5.png")
    assert lines() == []
    (folder.parent / "run.json").write_text("not a record")
    assert lines() == []


def test_masks_and_maps_of_another_class_list_are_refused(
    small: Path, cams: Path, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("tent\nbox\nball\n")
    good(stage3(small, tmp_path / "masks", "--cam_dir", cams))
    for extra in (("--pred_dir", tmp_path / "masks"), ("--cam_dir", cams)):
        done = run(
            evaluate.main,
            "--data_root",
            small,
            "--list",
            "all",
            "--classes",
            tmp_path / "names.txt",
            *extra,
        )
        assert done.status == 2 and "was made with the classes ball, box, tent" in done.lines[0]
    assert (
        stage3(
            small, tmp_path / "other", "--cam_dir", cams, "--classes", tmp_path / "names.txt"
        ).status
        == 2
    )
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ((), "either --pred_dir"),
        (("--pred_dir", "a", "--cam_dir", "b"), "either --pred_dir"),
        (("--pred_dir", "a", "--sweep"), "--sweep needs fused maps"),
        (("--pred_dir", "nowhere"), "predictions nowhere do not exist"),
    ],
)
def test_options_that_do_not_go_together(
    extra: tuple[str, ...], words: str, hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(evaluate.main, "--data_root", hand, "--list", "two", *extra)
    assert done.status == 2 and len(done.lines) == 1 and words in done.lines[0]
    assert not Path("nowhere").exists()
