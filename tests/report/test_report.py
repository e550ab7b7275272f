"""Pictures against colours worked out by hand; the sweep's plot."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import matplotlib
import numpy as np
import pytest
from PIL import Image

from smaf.report.pictures import colour_mask, overlay_cam, overlay_mask, target_picture
from smaf.report.sweep_plot import plot_sweep, sweep_figure

GREY = Image.new("RGB", (6, 5), (100, 100, 100))


def test_colour_mask_uses_vocs_palette_and_white_grey_for_255() -> None:
    mask = np.array([[0, 1], [15, 255]], dtype=np.uint8)
    assert colour_mask(mask).tolist() == [
        [[0, 0, 0], [128, 0, 0]],
        [[192, 128, 128], [224, 224, 224]],
    ]


def test_overlay_mask_blends_inside_leaves_background_and_draws_the_contour() -> None:
    mask = np.zeros((5, 6), dtype=np.uint8)
    mask[1:4, 1:4] = 1
    mask[4, 5] = 255
    picture = overlay_mask(GREY, mask)
    assert picture[mask == 0].tolist() == [[100, 100, 100]] * 20
    assert picture[2, 2].tolist() == [117, 40, 40]  # 0.4·100 + 0.6·(128, 0, 0), rounded
    assert picture[4, 5].tolist() == [174, 174, 174]  # 0.4·100 + 0.6·224
    ring = mask == 1
    ring[2, 2] = False
    assert picture[ring].tolist() == [[255, 255, 255]] * 8
    assert (
        overlay_mask(GREY, np.full((5, 6), 1, dtype=np.uint8), alpha=1.0) == (128, 0, 0)
    ).all()  # no frame


def test_overlays_refuse_another_size_or_type_and_a_bad_alpha() -> None:
    with pytest.raises(ValueError, match=r"\(6, 5\)"):
        overlay_mask(GREY, np.zeros((6, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        overlay_mask(GREY, np.zeros((5, 6), dtype=np.int64))
    with pytest.raises(ValueError, match="CAM"):
        overlay_cam(GREY, {0: np.zeros((6, 5), dtype=np.float32)})
    with pytest.raises(ValueError, match="alpha"):
        overlay_mask(GREY, np.zeros((5, 6), dtype=np.uint8), alpha=1.5)


def test_overlay_cam_shows_the_maximum_over_the_classes() -> None:
    first, second = np.zeros((5, 6), dtype=np.float32), np.zeros((5, 6), dtype=np.float32)
    first[0, 0], second[0, 0], second[3, 4] = 0.2, 1.0, 0.5
    picture = overlay_cam(GREY, {0: first, 7: second}, alpha=1.0)
    for (y, x), value in (((0, 0), 1.0), ((3, 4), 0.5), ((2, 2), 0.0)):
        assert picture[y, x].tolist() == list(matplotlib.colormaps["turbo"](value, bytes=True)[:3])
    assert (overlay_cam(GREY, {}, alpha=1.0) == picture[2, 2]).all()  # no class: 0 everywhere


def test_target_picture_pales_with_the_runner_up() -> None:
    target = np.zeros((3, 2, 2), dtype=np.float32)
    target[:, 0, 0] = 1.0, 0.0, 0.0  # class 0, sure
    target[:, 0, 1] = 0.25, 1.0, 0.5  # class 1, half sure: (0, 128, 0) half way to white
    target[:, 1, 0] = 0.2, 0.0, 1.0  # background, 0.2 of the way to white
    picture = target_picture(target, (2, 2))  # the last pixel: nothing responds
    assert picture.tolist() == [[[128, 0, 0], [128, 192, 128]], [[51, 51, 51], [255, 255, 255]]]
    assert target_picture(target, (30, 20)).shape == (20, 30, 3)


def test_sweep_plot_marks_the_best_and_names_the_list_and_checks() -> None:
    figure = sweep_figure([0.3, 0.1, 0.2], [0.5, 0.4, 0.6], list_name="tr$a$in", best=0.2)
    line, _, best = figure.axes[0].lines
    assert np.asarray(line.get_xydata()).tolist() == [[0.1, 40.0], [0.2, 60.0], [0.3, 50.0]]
    assert np.asarray(best.get_xydata()).tolist() == [[0.2, 60.0]]
    assert "a threshold belongs to the list it was chosen on: tr$a$in" in [
        text.get_text() for text in figure.texts
    ]
    for thresholds, mious, wanted in (([0.1], [0.1, 0.2], 0.1), ([], [], 0.1), ([0.1], [0.2], 0.3)):
        with pytest.raises(ValueError, match="expected"):
            sweep_figure(thresholds, mious, list_name="train", best=wanted)


def test_sweep_plot_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sweep.png"
    plot_sweep(path, [0.2], [0.5], list_name="train", best=0.2)
    before = path.read_bytes()
    assert Image.open(path).size == (960, 600)
    monkeypatch.setattr(os, "replace", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        plot_sweep(path, [0.4], [0.1], list_name="train", best=0.4)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["sweep.png"]
