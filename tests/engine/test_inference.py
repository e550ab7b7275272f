"""Stage 1: what is written, what is kept, and what a stopped run leaves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_set import (
    CLASSES,
    PICTURES,
    Done,
    good,
    make_set,
    near_ties,
    run,
    stage1,
    stage3,
    stamps,
)

from smaf import evaluate
from smaf.core import files
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.core.views import Views
from smaf.data.layout import open_data
from smaf.engine import fused
from smaf.engine.trained import trained_classifier
from smaf.models import Classifier
from smaf.ops import fuse_cams


def maps_of(folder: Path, suffix: str = "npz") -> dict[str, dict[int, np.ndarray]]:
    return {i: read_fused(folder / f"{i}.{suffix}", num_classes=3) for i in PICTURES}


def largest_difference(
    a: dict[str, dict[int, np.ndarray]], b: dict[str, dict[int, np.ndarray]]
) -> float:
    assert all(a[i].keys() == b[i].keys() for i in PICTURES)
    return max(float(np.abs(a[i][c] - b[i][c]).max()) for i in PICTURES for c in a[i])


def test_maps_are_those_of_fuse_cams(small: Path, classifier: Path, cams: Path) -> None:
    data = open_data(small)
    model = trained_classifier(classifier, data)
    for image_id, maps in maps_of(cams).items():
        expected = fuse_cams(
            model, data.photo(image_id), data.all_labels[image_id], views=Views((0.5, 1.0))
        )
        assert tuple(maps) == PICTURES[image_id][2]
        for c, plane in maps.items():
            assert plane.shape == PICTURES[image_id][1::-1]
            assert np.abs(plane - expected[c]).max() <= 0.0005 + 1e-6  # stored to a thousandth
    record = json.loads((cams / "run.json").read_text())
    assert record[-1]["finished"] and record[-1]["images"] == 8
    assert record[-1]["settings"]["class_list"] == list(CLASSES)


def test_what_is_there_stays(small: Path, classifier: Path, cams: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(cams, tmp_path / "cams"))
    (out / "p3.npz").unlink()
    before = stamps(out)
    done = good(stage1(small, classifier, out))
    assert f"{out}: 7 of 8 images are done; --overwrite does them again" in done.lines
    after = stamps(out)
    assert all(after[name] == stamp for name, stamp in before.items() if name.endswith(".npz"))
    assert (out / "p3.npz").read_bytes() == (cams / "p3.npz").read_bytes()
    done = good(stage1(small, classifier, out))
    assert f"{out}: 8 of 8 images are done; --overwrite does them again" in done.lines
    good(stage1(small, classifier, out, "--overwrite"))
    assert all(stamps(out)[name] != stamp for name, stamp in after.items())


def test_stopped_run_leaves_whole_files_only(
    small: Path, classifier: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, count = tmp_path / "cams", 0

    def stopping(*rest: Any, **named: Any) -> dict[int, np.ndarray]:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return fuse_cams(*rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(fused, "fuse_cams", stopping)
        assert stage1(small, classifier, out).status == 130
    assert sorted(path.name for path in out.iterdir()) == ["p0.npz", "p1.npz", "p2.npz", "run.json"]
    assert not json.loads((out / "run.json").read_text())[-1]["finished"]
    good(stage1(small, classifier, out))
    assert all(
        (out / f"{i}.npz").read_bytes() == (cams / f"{i}.npz").read_bytes() for i in PICTURES
    )


def test_file_that_cannot_be_renamed_leaves_nothing(
    small: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target.name == "p2.npz":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", failing)
    assert stage1(small, classifier, tmp_path / "cams").status == 130
    names = {path.name for path in (tmp_path / "cams").iterdir()}
    assert {"p0.npz", "p1.npz", "run.json"} <= names and "p2.npz" not in names
    assert not [name for name in names if name.endswith(".part")]


def test_other_settings_are_refused(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(cams, tmp_path / "cams"))
    before = stamps(out)
    done = stage1(small, classifier, out, "--no_flip")
    assert done.status == 2 and stamps(out) == before
    assert done.lines == [
        f"error: {out} was made with other settings (flip was True, is False): use --overwrite "
        "to start afresh, or another output folder"
    ]
    other = tmp_path / "other.pth"  # under another name, and with other weights
    saved = torch.load(classifier, weights_only=True)
    saved["state_dict"]["fc8.weight"] += 1.0
    torch.save(saved, other)
    refused = stage1(small, other, out)
    assert refused.status == 2 and "weights was 'sha256:" in refused.lines[0]


def test_published_format_serves_like_the_own(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    published = tmp_path / "npy"
    good(stage1(small, classifier, published, "--cam_format", "npy"))
    assert largest_difference(maps_of(published, "npy"), maps_of(cams)) <= 0.0005 + 1e-6
    value = np.load(published / "p3.npy", allow_pickle=True).item()  # as the field's tools read it
    assert sorted(value) == [0, 1] and value[0].dtype == np.float32
    results = []
    for folder in (published, cams):
        good(stage3(small, tmp_path / f"{folder.name}_masks", "--cam_dir", folder))
        good(
            run(
                evaluate.main,
                "--data_root",
                small,
                "--list",
                "all",
                "--cam_dir",
                folder,
                "--out",
                tmp_path / f"{folder.name}.json",
            )
        )
        results.append(json.loads((tmp_path / f"{folder.name}.json").read_text()))
    assert results[0]["miou"] == pytest.approx(results[1]["miou"], abs=0.01)
    for image_id in PICTURES:
        a, b = (
            read_mask(tmp_path / f"{folder.name}_masks/{image_id}.png")
            for folder in (published, cams)
        )
        assert not (a != b)[~near_ties(cams / f"{image_id}.npz")].any()


def test_other_format_on_overwrite_drops_the_first(
    small: Path, classifier: Path, tmp_path: Path
) -> None:
    """A stale .npz would hide the .npy beside it."""
    good(stage1(small, classifier, tmp_path / "cams"))
    good(stage1(small, classifier, tmp_path / "cams", "--cam_format", "npy", "--overwrite"))
    assert {path.suffix for path in (tmp_path / "cams").iterdir()} == {".npy", ".json"}


def test_scales_and_flips_are_those_asked_for(
    small: Path, classifier: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []  # a view and its mirror image, the largest first
    forward = Classifier.forward_cam

    def noting(self: Any, images: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(images.shape))
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward_cam", noting)
    (small / "ImageSets/Segmentation/one.txt").write_text("p0\n")
    wanted: list[tuple[tuple[object, ...], list[tuple[int, ...]]]] = [
        (("--scales", 0.5, 2), 2 * [(1, 3, 96, 120)] + 2 * [(1, 3, 24, 30)]),
        (("--scales", 1, "--no_flip"), [(1, 3, 48, 60)]),
        (("--scales", 1, "--long_side", 30), 2 * [(1, 3, 24, 30)]),
        (
            ("--scales", 1, 2, "--max_view_pixels", 2880),
            2 * [(1, 3, 48, 60)] + 2 * [(1, 3, 24, 30)],
        ),
    ]
    results: list[Done] = []
    for number, (views, expected) in enumerate(wanted):
        sizes.clear()
        results.append(
            good(stage1(small, classifier, tmp_path / str(number), "--list", "one", *views))
        )
        assert sizes == expected
        assert read_fused(tmp_path / str(number) / "p0.npz", num_classes=3)[0].shape == (48, 60)
    assert not any("size cap" in line for done in results[:3] for line in done.lines)
    assert sum("size cap" in line for line in results[3].lines) == 1


def test_folder_of_the_true_masks_is_neither_taken_nor_emptied(
    classifier: Path, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set")
    masks = root / "SegmentationClassAug"
    before = stamps(masks)
    for extra in ((), ("--overwrite",)):
        done = stage3(root, masks, "--weights", classifier, *extra)
        assert done.status == 2 and "which no recorded run made" in done.lines[0]
        assert stamps(masks) == before
    good(stage3(root, root, "--weights", classifier))
    good(
        stage3(root, root, "--weights", classifier, "--overwrite")
    )  # drops its own masks, not those below
    assert stamps(masks) == before
