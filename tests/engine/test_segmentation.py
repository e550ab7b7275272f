"""Stage 4: training on masks, testing with views and CRF, uncertain targets."""

from __future__ import annotations

import json
import shutil
import tarfile
import warnings
from dataclasses import replace
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
    distance,
    good,
    run,
    same,
    stage0,
    stage3,
    weights_of,
)

from smaf import evaluate, predict, test_seg, train_seg
from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError
from smaf.core.fused_maps import write_fused
from smaf.core.images import read_mask, voc_palette, write_mask
from smaf.core.predict_settings import PredictSettings
from smaf.core.proposals import read_proposals
from smaf.core.views import Views
from smaf.data.layout import open_data
from smaf.engine.predicting import open_network
from smaf.engine.predicting.predictor import Predictor
from smaf.engine.stages.test_seg import save_for_server
from smaf.models import LIGHT, build_segmenter, write_checkpoint
from smaf.ops import certain_mask, vote_proposals

NETWORK = ("--network", "test_efficientnet", "--weights", "none", "--device", "cpu")
CROPS = (
    "--crop",
    64,
    "--resize_long",
    48,
    72,
    "--batch_size",
    2,
    "--accumulate",
    1,
    "--num_workers",
    0,
)


@pytest.fixture(scope="module")
def targets(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pseudo masks that are the truth, with a marked border."""
    folder, data = tmp_path_factory.mktemp("targets"), open_data(small)
    for image_id in PICTURES:
        mask = data.mask(image_id)
        mask[:2] = 255
        write_mask(folder / f"{image_id}.png", mask)
    return folder


def trained(small: Path, targets: Path, out: Path, *extra: object) -> Path:
    good(
        run(
            train_seg.main,
            "--data_root",
            small,
            "--list",
            "train",
            "--target_dir",
            targets,
            "--out",
            out,
            *NETWORK,
            *CROPS,
            *ADAMW,
            *extra,
        )
    )
    return out / "segmenter.pth"


@pytest.fixture(scope="module")
def segmenter(small: Path, targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network after 150 steps: enough for three colours."""
    return trained(
        small,
        targets,
        tmp_path_factory.mktemp("stage4") / "net",
        "--steps",
        150,
        "--loss_at",
        "quarter",
        "--batchnorm",
        "free",
        "--output_stride",
        8,
        "--resize_long",
        96,
        128,
        "--crop",
        96,
    )


def scores(small: Path, weights: Path, out: Path, *extra: object) -> dict:
    good(
        run(
            test_seg.main,
            "--data_root",
            small,
            "--list",
            "val",
            "--weights",
            weights,
            "--out",
            out,
            "--device",
            "cpu",
            "--long_side",
            112,
            *extra,
        )
    )
    return json.loads((out / "evaluation_val.json").read_text())


def test_it_learns_and_is_tested(small: Path, segmenter: Path, tmp_path: Path) -> None:
    result = scores(small, segmenter, tmp_path / "one")
    assert (
        result["miou"] > 0.5
        and result["images"] == 2
        and result["classes"] == ["background", *CLASSES]
    )
    better = scores(small, segmenter, tmp_path / "views", "--scales", 0.75, 1.0, 1.25, "--flip")
    assert better["miou"] > 0.5
    masks = {p: read_mask(tmp_path / p / "p6.png") for p in ("one", "views")}
    assert masks["one"].shape == (44, 60) and not np.array_equal(*masks.values())
    image = Image.open(tmp_path / "one/p6.png")
    assert image.mode == "P" and image.getpalette()[:9] == voc_palette()[:3].ravel().tolist()
    # A second run finds all done; other views are other settings
    again = run(
        test_seg.main,
        "--data_root",
        small,
        "--list",
        "val",
        "--weights",
        segmenter,
        "--out",
        tmp_path / "one",
        "--device",
        "cpu",
        "--long_side",
        112,
        "--flip",
    )
    assert again.status == 2 and "made with other settings" in again.err


@pytest.mark.slow
def test_a_decoder_learns_and_sharpens(small: Path, targets: Path, tmp_path: Path) -> None:
    """From the trained network without it, which it then leaves behind."""
    size = ("--loss_at", "quarter", "--resize_long", 96, 128, "--crop", 96, "--network", LIGHT)
    coarse = trained(
        small, targets, tmp_path / "c", *size, "--steps", 30, "--lr", 1e-3, "--weights", "imagenet"
    )
    more = (*size, "--steps", 30, "--weights", coarse)
    plain = scores(small, trained(small, targets, tmp_path / "p", *more), tmp_path / "plain")
    fine = trained(small, targets, tmp_path / "f", *more, "--decoder")
    assert scores(small, fine, tmp_path / "fine")["miou"] > plain["miou"] + 0.02
    again = run(
        train_seg.main, "--data_root", small, "--list", "train", "--target_dir", targets, "--out",
        tmp_path / "f", *NETWORK, *CROPS, *ADAMW, *size, "--steps", 30, "--weights", coarse,
    )  # fmt: skip
    assert again.status == 2 and "decoder" in again.err


@pytest.mark.slow
def test_a_decoder_learns_in_mixed_precision(small: Path, targets: Path, tmp_path: Path) -> None:
    options = ("--steps", 2, "--network", LIGHT, "--weights", "imagenet", "--decoder")
    full = weights_of(trained(small, targets, tmp_path / "fp32", *options))
    mixed = weights_of(trained(small, targets, tmp_path / "bf16", *options, "--precision", "bf16"))
    moved = [name for name in full if name.startswith("decoder") and full[name].any()]
    assert moved and all(mixed[name].isfinite().all() for name in moved)
    assert 0 < distance(full, mixed) < 0.05


def test_labels_can_be_known(small: Path, segmenter: Path, tmp_path: Path) -> None:
    """p7 shows box and tent; a file that names the box alone leaves no tent, and no hole where it
    was seen."""
    (tmp_path / "labels.csv").write_text("image,labels\np6,ball\np7,box\n")
    masks = {}
    for kind in ("none", "logits"):
        scores(
            small,
            segmenter,
            tmp_path / kind,
            "--labels",
            tmp_path / "labels.csv",
            "--label_filter",
            kind,
        )
        masks[kind] = read_mask(tmp_path / kind / "p7.png")
    assert set(np.unique(masks["none"])) == {0, 2, 3} and set(np.unique(masks["logits"])) == {0, 2}
    assert ((masks["logits"] == 2) >= (masks["none"] == 2)).all()


def test_a_score_decides_which_classes_are_shown(
    small: Path, segmenter: Path, tmp_path: Path
) -> None:
    """The same classes as `smaf predict` takes at this threshold, and the same masks; none reaches
    1."""
    views, data, network = (
        ("--scales", 0.75, 1.0, "--flip"),
        open_data(small),
        open_network(str(segmenter), "cpu"),
    )
    all_taken = PredictSettings(Views((0.75, 1.0), True, 112, label_filter="logits"), None, 0.0)
    first, second = sorted(Predictor(network, all_taken)(data.photo("p7")).scores.values())[
        -2:
    ]  # p7 shows two
    between = replace(all_taken, score=(first + second) / 2)
    scores(small, segmenter, tmp_path / "all", *views)
    scores(small, segmenter, tmp_path / "some", *views, "--score", between.score)
    for image_id in ("p6", "p7"):
        expected = Predictor(network, between)(data.photo(image_id)).mask
        assert np.array_equal(read_mask(tmp_path / f"some/{image_id}.png"), expected)
    assert len(np.unique(read_mask(tmp_path / "all/p7.png"))) == 3
    assert len(np.unique(read_mask(tmp_path / "some/p7.png"))) == 2
    scores(small, segmenter, tmp_path / "none", *views, "--score", 1)
    assert not read_mask(tmp_path / "none/p6.png").any()
    bad = run(
        test_seg.main,
        "--data_root",
        small,
        "--list",
        "val",
        "--weights",
        segmenter,
        "--out",
        tmp_path / "bad",
        "--score",
        0.9,
        "--label_filter",
        "logits",
    )
    assert bad.status == 2 and "need no score" in bad.err
    high = run(
        test_seg.main,
        "--data_root",
        small,
        "--weights",
        segmenter,
        "--out",
        tmp_path / "bad",
        "--score",
        1.5,
    )
    assert high.status == 2 and "--score 1.5: expected a value from 0 to 1" in high.err


def test_crf_in_two_processes(small: Path, segmenter: Path, tmp_path: Path) -> None:
    plain = scores(small, segmenter, tmp_path / "plain")
    crf = scores(small, segmenter, tmp_path / "crf", "--crf", "--num_workers", 2)
    assert crf["miou"] > plain["miou"] - 0.05
    assert not np.array_equal(
        read_mask(tmp_path / "plain/p7.png"), read_mask(tmp_path / "crf/p7.png")
    )


def test_crf_in_threads(small: Path, segmenter: Path, tmp_path: Path) -> None:
    """The same masks as one after the other; how Python warns stays as it was."""
    before = list(warnings.filters)
    for workers in (0, 1):
        scores(small, segmenter, tmp_path / str(workers), "--crf", "--num_workers", workers)
    assert list(warnings.filters) == before
    for image_id in ("p6", "p7"):
        masks = [read_mask(tmp_path / f"{workers}/{image_id}.png") for workers in (0, 1)]
        assert np.array_equal(*masks)


def test_masks_choose_among_proposals(small: Path, segmenter: Path, tmp_path: Path) -> None:
    """The vote comes last, after CRF where there is one."""
    for image_id in ("p6", "p7"):
        (tmp_path / "proposals" / image_id).mkdir(parents=True)
        w, h, _ = PICTURES[image_id]
        for number, region in enumerate((np.arange(w) < w // 2, np.arange(w) >= w // 2)):
            pixels = np.broadcast_to(region, (h, w)).astype(np.uint8) * 255
            Image.fromarray(pixels).save(tmp_path / f"proposals/{image_id}/{number}.png")
    proposals, changed = tmp_path / "proposals", 0
    for name, crf in (("plain", []), ("crf", ["--crf", "--num_workers", 0])):
        before, after = tmp_path / name, tmp_path / f"{name}_voted"
        scores(small, segmenter, before, *crf)
        scores(small, segmenter, after, *crf, "--proposals", proposals)
        for image_id in ("p6", "p7"):
            mask = read_mask(before / f"{image_id}.png")
            regions = read_proposals(proposals, image_id, size=PICTURES[image_id][:2])
            expected = vote_proposals(mask, regions)
            assert np.array_equal(read_mask(after / f"{image_id}.png"), expected)
            changed += int((expected != mask).sum())
    assert changed > 0


def test_stop_and_resume_give_the_same(small: Path, targets: Path, tmp_path: Path) -> None:
    whole = trained(
        small, targets, tmp_path / "whole", "--steps", 4, "--accumulate", 2, "--rate_every", 2
    )
    from smaf.engine.training.loop import Trainer

    step = Trainer._step

    def stop(self: Trainer, *rest: object) -> object:
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self, *rest)  # type: ignore[arg-type]

    options = (
        "--data_root",
        small,
        "--list",
        "train",
        "--target_dir",
        targets,
        "--out",
        tmp_path / "part",
        *NETWORK,
        *CROPS,
        *ADAMW,
        "--steps",
        4,
        "--accumulate",
        2,
        "--rate_every",
        2,
        "--checkpoint_minutes",
        0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", stop)
        assert run(train_seg.main, *options).status == 130
    good(run(train_seg.main, *options, "--resume"))
    assert same(weights_of(whole), weights_of(tmp_path / "part/segmenter.pth"))


def test_mixed_precision_and_validation(small: Path, targets: Path, tmp_path: Path) -> None:
    plain = trained(small, targets, tmp_path / "fp32", "--steps", 3)
    out = tmp_path / "bf16"
    done = run(
        train_seg.main,
        "--data_root",
        small,
        "--list",
        "train",
        "--target_dir",
        targets,
        "--out",
        out,
        *NETWORK,
        *CROPS,
        *ADAMW,
        "--steps",
        3,
        "--precision",
        "bf16",
        "--val_list",
        "val",
        "--val_every",
        2,
    )
    assert done.status == 0 and done.err.count("validation mIoU") == 2, done.err
    a, b = weights_of(plain), weights_of(out / "segmenter.pth")
    assert 0 < distance(a, b) < 0.05 and all(
        torch.isfinite(v).all() for v in b.values() if v.is_floating_point()
    )


def test_true_masks_are_the_upper_bound(small: Path, targets: Path, tmp_path: Path) -> None:
    """Targets that equal the true masks train the same network."""
    data = open_data(small)
    for image_id in TRAIN:
        write_mask(tmp_path / "truth" / f"{image_id}.png", data.mask(image_id))
    a = trained(small, tmp_path / "truth", tmp_path / "a", "--steps", 2)
    b = trained(small, tmp_path / "none", tmp_path / "b", "--steps", 2, "--true_masks")
    assert distance(weights_of(a), weights_of(b)) == 0.0


@pytest.mark.parametrize("fault", ["value", "missing", "size", "classes"])
def test_bad_targets_are_named(
    fault: str, small: Path, targets: Path, segmenter: Path, tmp_path: Path
) -> None:
    folder, weights = tmp_path / "targets", ("--weights", "none")
    for image_id in TRAIN:
        write_mask(folder / f"{image_id}.png", read_mask(targets / f"{image_id}.png"))
    if fault == "value":
        mask = read_mask(targets / "p2.png")
        mask[3, 3] = 9
        write_mask(folder / "p2.png", mask)
    if fault == "missing":
        (folder / "p2.png").unlink()
    if fault == "size":
        write_mask(folder / "p2.png", np.zeros((5, 5), dtype=np.uint8))
    if fault == "classes":
        write_checkpoint(
            tmp_path / "other.pth",
            build_segmenter("test_efficientnet", num_classes=4),
            ("x", "y", "z"),
        )
        weights = ("--weights", tmp_path / "other.pth")
    done = run(
        train_seg.main,
        "--data_root",
        small,
        "--list",
        "train",
        "--target_dir",
        folder,
        "--out",
        tmp_path / "out",
        *NETWORK,
        *CROPS,
        "--steps",
        2,
        *weights,
    )
    words = {
        "value": "p2.png has the value 9, the task has the classes 1..3",
        "missing": "p2.png (and 0 more)",
        "size": "p2.png",
        "classes": "have the classes x, y, z",
    }[fault]
    assert done.status == 2 and words in done.lines[-1], done.err
    assert not (tmp_path / "out/segmenter.pth").exists()


def test_ranges_are_checked(small: Path, tmp_path: Path) -> None:
    done = run(train_seg.main, "--data_root", small, "--scale", 1.5, 0.5, "--out", tmp_path / "o")
    assert done.status == 2 and "--scale 1.5 0.5: expected the smaller factor first" in done.err


def test_empty_class_is_a_warning(small: Path, targets: Path, tmp_path: Path) -> None:
    for image_id in TRAIN:
        mask = read_mask(targets / f"{image_id}.png")
        mask[mask == 2] = 0
        write_mask(tmp_path / "targets" / f"{image_id}.png", mask)
    done = run(
        train_seg.main,
        "--data_root",
        small,
        "--list",
        "train",
        "--target_dir",
        tmp_path / "targets",
        "--out",
        tmp_path / "out",
        *NETWORK,
        *CROPS,
        "--steps",
        1,
    )
    assert (
        done.status == 0
        and f"no target has a pixel of {CLASSES[1]}: the network cannot learn it" in done.err
    )


@pytest.mark.parametrize(
    ("value", "words"), [(0, "are all background (0)"), (255, "have no value but 0 and 255")]
)
def test_targets_that_show_no_class_are_an_error(
    value: int, words: str, small: Path, targets: Path, tmp_path: Path
) -> None:
    for image_id in TRAIN:
        mask = read_mask(targets / f"{image_id}.png")
        mask[mask > 0] = value
        write_mask(tmp_path / "targets" / f"{image_id}.png", mask)
    done = run(
        train_seg.main,
        "--data_root",
        small,
        "--list",
        "train",
        "--target_dir",
        tmp_path / "targets",
        "--out",
        tmp_path / "out",
        *NETWORK,
        *CROPS,
        "--steps",
        1,
    )
    assert (
        done.status == 2 and f"the targets in {tmp_path / 'targets'} {words}" in done.lines[-1]
    ), done.err
    assert not (tmp_path / "out/segmenter.pth").exists()


def test_validation_on_masks_that_show_no_class_is_an_error(
    small: Path, targets: Path, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(small, root)
    for image_id in ("p6", "p7"):
        mask = read_mask(root / "SegmentationClassAug" / f"{image_id}.png")
        write_mask(root / "SegmentationClassAug" / f"{image_id}.png", np.where(mask > 0, 255, 0))
    commands = (
        lambda: run(
            train_seg.main,
            "--data_root",
            root,
            "--list",
            "train",
            "--target_dir",
            targets,
            "--out",
            tmp_path / "a",
            *NETWORK,
            *CROPS,
            "--steps",
            1,
            "--val_list",
            "val",
        ),
        lambda: stage0(root, tmp_path / "b", "--steps", 1, "--val_list", "val"),
    )
    for command in commands:
        done = command()
        assert done.status == 2 and "the true masks of list val" in done.lines[-1], done.err
        assert "have no value but 0 and 255" in done.lines[-1]


def test_targets_in_other_kinds_of_files(small: Path, targets: Path, tmp_path: Path) -> None:
    for image_id in TRAIN:
        Image.fromarray(read_mask(targets / f"{image_id}.png")).save(
            tmp_path / f"{image_id}.TIF", format="TIFF"
        )
    a = trained(small, tmp_path, tmp_path / "a", "--steps", 2)
    b = trained(small, targets, tmp_path / "b", "--steps", 2)
    assert distance(weights_of(a), weights_of(b)) == 0.0


def test_classifiers_are_refused(small: Path, classifier: Path, tmp_path: Path) -> None:
    done = run(
        test_seg.main,
        "--data_root",
        small,
        "--list",
        "val",
        "--weights",
        classifier,
        "--out",
        tmp_path / "o",
    )
    assert done.status == 2 and "hold a classifier" in done.err


def test_archive_for_vocs_server(small: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "masks/p1.png", np.full((4, 4), 20, dtype=np.uint8))
    with pytest.raises(InputError, match="takes its 20 classes"):
        save_for_server(open_data(small), ["p1"], masks=tmp_path / "masks", out=tmp_path)
    (tmp_path / "voc").mkdir()
    data = open_data(tmp_path / "voc")
    assert data.classes.names == VOC_CLASSES
    with tarfile.open(
        save_for_server(data, ["p1"], masks=tmp_path / "masks", out=tmp_path)
    ) as archive:
        assert archive.getnames() == ["results/VOC2012/Segmentation/comp6_test_cls/p1.png"]


@pytest.fixture(scope="module")
def ramps(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fused maps that rise from 0 on the left to 1 on the right."""
    folder = tmp_path_factory.mktemp("ramps")
    for image_id, (w, h, shown) in PICTURES.items():
        plane = np.tile(np.linspace(0, 1, w, dtype=np.float32), (h, 1))
        write_fused(
            folder / f"{image_id}.npz", {c: plane / (1 + i) for i, c in enumerate(shown)}, (h, w)
        )
    return folder


def test_uncertain_pixels(small: Path, ramps: Path, tmp_path: Path) -> None:
    """Masks at two thresholds that agree keep their value, the rest is 255; evaluation leaves it
    out."""
    cams = ramps
    assert certain_mask(np.array([[1, 2, 0]]), np.array([[1, 0, 0]])).tolist() == [[1, 255, 0]]
    good(
        stage3(
            small,
            tmp_path / "band",
            "--cam_dir",
            cams,
            "--uncertain",
            "thresholds",
            "--band",
            0.3,
            0.7,
        )
    )
    for edge in (0.3, 0.7):
        good(stage3(small, tmp_path / f"{edge}", "--cam_dir", cams, "--threshold", edge))
    marked = 0
    for image_id in PICTURES:
        low, high, mask = (
            read_mask(tmp_path / name / f"{image_id}.png") for name in ("0.3", "0.7", "band")
        )
        assert np.array_equal(mask, np.where(low == high, low, 255))
        marked += int((mask == 255).sum())
    assert marked > 100
    good(run(evaluate.main, "--data_root", small, "--list", "val", "--pred_dir", tmp_path / "band"))
    said = json.loads((tmp_path / "band/evaluation_val.json").read_text())
    data = open_data(small)
    expected = sum(
        int(((read_mask(tmp_path / f"band/{i}.png") == 255) & (data.mask(i) != 255)).sum())
        for i in ("p6", "p7")
    )
    assert said["uncertain_pixels"] == expected > 0
    assert (
        said["pixels"]
        == sum(PICTURES[i][0] * PICTURES[i][1] for i in ("p6", "p7"))
        - said["ignored_pixels"]
        - expected
    )


def test_uncertain_by_crf(small: Path, ramps: Path, tmp_path: Path) -> None:
    cams = ramps
    for kind in ("masks", "maps"):
        good(stage3(small, tmp_path / kind, "--cam_dir", cams, "--crf", kind, "--threshold", 0.5))
        good(
            stage3(
                small,
                tmp_path / f"{kind}_u",
                "--cam_dir",
                cams,
                "--crf",
                kind,
                "--threshold",
                0.5,
                "--uncertain",
                "crf",
            )
        )
        for image_id in PICTURES:
            before, after, mask = (
                read_mask(tmp_path / name / f"{image_id}.png")
                for name in (f"{kind}/before_crf", kind, f"{kind}_u")
            )
            assert np.array_equal(mask, np.where(before == after, after, 255))
    good(
        stage3(
            small,
            tmp_path / "band",
            "--cam_dir",
            cams,
            "--crf",
            "maps",
            "--uncertain",
            "thresholds",
            "--band",
            0.2,
            0.6,
        )
    )
    assert any((read_mask(tmp_path / f"band/{i}.png") == 255).any() for i in PICTURES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--uncertain", "crf"), "add --crf"),
        (("--uncertain", "thresholds", "--band", 0.6, 0.4), "the lower one first"),
        (("--uncertain", "thresholds", "--crf", "masks"), "use --crf maps"),
    ],
)
def test_bad_uncertain(
    options: tuple[object, ...], words: str, small: Path, cams: Path, tmp_path: Path
) -> None:
    done = stage3(small, tmp_path / "m", "--cam_dir", cams, *options)
    assert done.status == 2 and words in done.err


def test_predict_runs_a_segmenter(small: Path, segmenter: Path, tmp_path: Path) -> None:
    photos = small / "JPEGImages"
    good(
        run(
            predict.main,
            photos,
            "--weights",
            segmenter,
            "--out",
            tmp_path / "free",
            "--device",
            "cpu",
            "--score",
            0.3,
            "--long_side",
            112,
        )
    )
    good(
        run(
            predict.main,
            photos,
            "--weights",
            segmenter,
            "--out",
            tmp_path / "said",
            "--device",
            "cpu",
            "--labels",
            small / "labels.csv",
            "--long_side",
            112,
        )
    )
    data, hits = open_data(small), 0
    for image_id, (_, _, shown) in PICTURES.items():
        mask = read_mask(tmp_path / "said" / f"{image_id}.png")
        assert set(np.unique(mask)) <= {0, *(c + 1 for c in shown)}
        hits += float((mask == data.mask(image_id)).mean()) > 0.8
    assert hits >= 6
    report = json.loads((tmp_path / "free/predictions.json").read_text())
    assert report["background"] is None and report["classes"] == ["background", *CLASSES]


def test_predict_cuts_a_segmenters_maps_at_a_threshold(
    small: Path, segmenter: Path, tmp_path: Path
) -> None:
    """A low threshold takes more pixels than a high one; the photograph's classes alone."""
    photo, taken = small / "JPEGImages/p0.jpg", []
    for threshold in (0.2, 0.9):
        out = tmp_path / str(threshold)
        words = ("--weights", segmenter, "--out", out, "--threshold", threshold)
        good(run(predict.main, photo, *words, "--labels", small / "labels.csv"))
        taken.append(np.count_nonzero(read_mask(out / "p0.png")))
        assert json.loads((out / "predictions.json").read_text())["background"] == threshold
    assert taken[0] > taken[1] > 0
