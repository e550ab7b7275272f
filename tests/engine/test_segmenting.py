"""Stage 4's masks of several networks, uncertain pixels, and maps that earlier stages read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import CLASSES, PICTURES, good, run, stamps

from smaf import evaluate, gen_pm, refine_fusion, test_seg, train_seg
from smaf.core.classes import IGNORE
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.core.network_facts import NetworkFacts
from smaf.core.views import Views
from smaf.data.layout import open_data
from smaf.engine.predicting import Network
from smaf.engine.segmenting import probabilities
from smaf.models import build_segmenter, write_checkpoint
from smaf.ops import mask_of_maps

IDS = tuple(PICTURES)
KNOWN = ("--label_filter", "logits")


class Constant(Network):
    """A segmentation network that gives each pixel of a column the same logits."""

    def __init__(self, columns: list[list[float]]) -> None:
        self.facts = NetworkFacts(
            class_names=("a", "b"), mean=(0.0,) * 3, std=(1.0,) * 3, segments=True
        )
        self.columns = np.array(columns, dtype=np.float32)  # (w, background and classes)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) → (n, 3, h, w)."""
        n, _, h, w = images.shape
        return np.broadcast_to(self.columns.T[None, :, None], (n, 3, h, w)).copy()


def test_means_and_doubts_by_hand() -> None:
    """Softmaxes of 3 : 1 : 0 and 1 : 3 : 0 have the mean 1 : 1; the masks of one column differ."""
    three, none, view = float(np.log(3.0)), -40.0, Views((1.0,), flip=False, label_filter="logits")
    first = Constant([[three, 0.0, none], [0.0, three, none]])
    second = Constant([[0.0, three, none], [0.0, three, none]])
    found = probabilities([first, second], Image.new("RGB", (2, 1)), view, [0, 1])
    assert found.mean().maps[:, 0] == pytest.approx(np.array([[0.5, 0.75], [0.0, 0.0]]), abs=1e-6)
    assert found.doubted().tolist() == [[True, False]]
    one = probabilities([first], Image.new("RGB", (2, 1)), view, [0, 1])
    assert not one.doubted().any() and mask_of_maps(one.mean(), one.classes).tolist() == [[0, 1]]
    # without labels the score of the mean decides: class a's peak is 0.75, b's is 0
    shown = probabilities([first, second], Image.new("RGB", (2, 1)), view, None, 0.7)
    assert list(shown.classes) == [0]
    assert list(probabilities([first, second], Image.new("RGB", (2, 1)), view).classes) == [0, 1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two networks of random weights, whose masks vary."""
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = build_segmenter("test_efficientnet", num_classes=4)
        for value in network.aspp.parameters():
            torch.nn.init.normal_(value, std=1.0)
        paths.append(tmp_path_factory.mktemp("pair") / f"{seed}.pth")
        write_checkpoint(paths[-1], network, CLASSES)
    return paths[0], paths[1]


def segment(root: Path, out: Path, *extra: object) -> Path:
    options = ("--data_root", root, "--list", "all", "--out", out, "--device", "cpu")
    good(run(test_seg.main, *options, "--num_workers", 0, "--no_evaluate", *extra))
    return out


def test_the_mean_of_networks_and_where_they_differ(
    small: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = (segment(small, tmp_path / p.stem, "--weights", p, *KNOWN, "--save_maps") for p in pair)
    both = segment(small, tmp_path / "both", "--weights", *pair, *KNOWN, "--save_maps")
    doubt = ("--uncertain", "networks")
    sure = segment(small, tmp_path / "sure", "--weights", *pair, *KNOWN, *doubt)
    differ = 0
    for image_id in IDS:
        maps = [read_fused(f / f"{image_id}.npz", num_classes=3) for f in (a, b, both)]
        assert set(maps[2]) == set(PICTURES[image_id][2])
        for c, mean in maps[2].items():
            assert mean == pytest.approx((maps[0][c] + maps[1][c]) / 2, abs=1.1e-3)
        first, second, mixed, marked = (
            read_mask(f / f"{image_id}.png") for f in (a, b, both, sure)
        )
        assert np.array_equal(marked == IGNORE, first != second)
        assert np.array_equal(marked[first == second], mixed[first == second])
        differ += int((first != second).sum())
    assert differ > 100
    # stage 4 learns from them: 255 is ignored
    out = tmp_path / "net"
    network = ("--network", "test_efficientnet", "--weights", "none", "--device", "cpu")
    crops = ("--crop", 64, "--resize_long", 48, 72, "--batch_size", 2, "--num_workers", 0)
    options = ("--data_root", small, "--list", "train", "--target_dir", sure, "--out", out)
    good(run(train_seg.main, *options, *network, *crops, "--steps", 1))
    scores = run(evaluate.main, "--data_root", small, "--list", "all", "--pred_dir", sure)
    assert "marked uncertain (255) and" in good(scores).out


def test_a_threshold_scales_the_maps_of_known_classes(
    small: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """With --threshold the maps are stage 1's: gen_pm cuts them to the same masks."""
    words = ("--weights", pair[0], *KNOWN, "--save_maps")
    shares = segment(small, tmp_path / "shares", *words)
    scaled = segment(small, tmp_path / "scaled", *words, "--threshold", 0.6)
    cut, options = tmp_path / "cut", ("--data_root", small, "--list", "all", "--threshold", 0.6)
    good(run(gen_pm.main, *options, "--cam_dir", scaled, "--out", cut, "--num_workers", 0))
    for image_id in IDS:
        maps, before = (read_fused(f / f"{image_id}.npz", num_classes=3) for f in (scaled, shares))
        assert set(maps) == set(PICTURES[image_id][2])
        for c, plane in maps.items():
            assert plane.max() == pytest.approx(1.0, abs=1e-3)
            assert plane == pytest.approx(before[c] / before[c].max(), abs=5e-3)
        mask, again = (read_mask(f / f"{image_id}.png") for f in (scaled, cut))
        planes = np.sort(np.stack([np.full(mask.shape, 0.6), *maps.values()]), axis=0)
        assert ((mask == again) | (planes[-1] - planes[-2] < 1.1e-3)).all()  # stored to 1/1000
    crf = segment(small, tmp_path / "crf", *words, "--threshold", 0.6, "--crf")
    for image_id in IDS:  # after CRF they are probabilities again
        total = sum(read_fused(crf / f"{image_id}.npz", num_classes=3).values())
        assert np.max(total) < 1.003


def test_a_threshold_needs_to_know_the_classes(
    small: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without labels and score it takes no part, which is told; a score says which are shown."""
    words = ("--data_root", small, "--list", "all", "--device", "cpu", "--num_workers", 0)
    words = (*words, "--weights", pair[0], "--no_evaluate")
    free = tmp_path / "free"
    good(run(test_seg.main, *words, "--out", free))
    done = good(run(test_seg.main, *words, "--threshold", 0.4, "--out", tmp_path / "told"))
    assert "--threshold 0.4 takes no part" in done.err
    for image_id in IDS:
        told = read_mask(tmp_path / f"told/{image_id}.png")
        assert np.array_equal(told, read_mask(free / f"{image_id}.png"))
    shown = ("--score", 0.2, "--out", tmp_path / "score")
    assert "takes no part" not in good(run(test_seg.main, *words, "--threshold", 0.4, *shown)).err


def test_crf_marks_what_it_changed_and_writes_its_maps(
    small: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = segment(small, tmp_path / "plain", "--weights", *pair, *KNOWN)
    crf = segment(small, tmp_path / "crf", "--weights", *pair, *KNOWN, "--crf", "--save_maps")
    doubt = ("--crf", "--uncertain", "crf")
    marked = segment(small, tmp_path / "marked", "--weights", *pair, *KNOWN, *doubt)
    changed = 0
    for image_id in IDS:
        before, after, mask = (read_mask(f / f"{image_id}.png") for f in (plain, crf, marked))
        # maps travel to the CRF in half precision: a pixel at a tie may fall otherwise
        assert ((mask == IGNORE) != (before != after)).mean() < 0.01
        assert np.array_equal(mask[mask < IGNORE], after[mask < IGNORE])
        changed += int((mask == IGNORE).sum())
        maps = read_fused(crf / f"{image_id}.npz", num_classes=3)
        classes = sorted(maps)
        rest = 1.0 - sum(maps.values())
        planes = np.stack([rest, *(maps[c] for c in classes)])
        best = np.array([0, *(c + 1 for c in classes)])[planes.argmax(axis=0)]
        close = np.sort(planes, axis=0)[-2:]
        assert ((best == after) | (close[1] - close[0] < 4e-3)).all()
    assert changed > 100


def test_a_stopped_run_goes_on_and_earlier_stages_read_the_maps(
    small: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ("--weights", *pair, *KNOWN, "--save_maps")
    out = segment(small, tmp_path / "maps", *words)
    whole = stamps(out)
    (out / "p3.npz").unlink()
    segment(small, out, *words)
    renewed = {name for name, stamp in stamps(out).items() if whole[name] != stamp}
    assert renewed == {"p3.npz", "p3.png", "run.json", "classes.txt"}
    refined = tmp_path / "refined"
    done = run(
        refine_fusion.main,
        *("--data_root", small, "--list", "all", "--cam_dir", out, "--out", refined),
        *("--background", 0.5, "--num_workers", 0),
    )
    good(done)
    data = open_data(small)
    for image_id in IDS:
        maps = read_fused(refined / f"{image_id}.npz", num_classes=3)
        assert set(maps) == set(np.flatnonzero(data.all_labels[image_id]).tolist())


def test_bad_options_and_networks_are_one_line(
    small: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.pth"
    write_checkpoint(other, build_segmenter("test_efficientnet", num_classes=3), ("x", "y"))
    cases = {
        ("--weights", pair[0], other): f"{other} have the classes x, y; the data set keeps ball",
        ("--weights", pair[0], "--uncertain", "networks"): "name two --weights or more",
        ("--weights", *pair, "--uncertain", "crf"): "add --crf",
        ("--weights", *pair, "--save_maps"): "add --label_filter logits",
        ("--weights", *pair, "--uncertain", "networks", "--save_for_server"): "takes no 255",
    }
    for words, expected in cases.items():
        done = run(test_seg.main, "--data_root", small, "--out", tmp_path / "bad", *words)
        assert done.status == 2 and expected in done.lines[-1], done.err
        assert len(done.lines) == 1
