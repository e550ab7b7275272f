"""Stages 0, 1 and 3 with tiny transformers on the demo's rendered photographs: they learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from small_set import good, run

from smaf import evaluate, gen_fusion, gen_pm, train_eps
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.data.demo.demo_set import render_demo_set
from smaf.data.demo.scenes import CLASSES
from smaf.engine.stages.train_eps import EpsTask
from smaf.models import ClassifierOutput, read_checkpoint

TINY = {"smaf_tiny_patch14_of_3": 14, "smaf_tiny_patch16_of_3": 16}
RUN = ("--num_workers", "0", "--device", "cpu", "--list", "train")
TRAINING = [
    "--weights",
    "none",
    "--head",
    "eps",
    "--cells",
    "centres",
    "--no_jitter",
    "--optimiser",
    "adamw",
    "--lr",
    "2e-3",
    "--weight_decay",
    "1e-2",
    "--warmup",
    "0.075",
    "--power",
    "1",
    "--head_factor",
    "1",
    "--resize_long",
    "112",
    "144",
    "--crop",
    "112",
    "--batch_size",
    "8",
]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photographs of 128×96 pixels; timm gets transformers of three blocks."""

    def smaf_tiny_patch14_of_3(pretrained: bool = False, **options: object) -> torch.nn.Module:
        return tiny(14, options)

    def smaf_tiny_patch16_of_3(pretrained: bool = False, **options: object) -> torch.nn.Module:
        return tiny(16, options)

    for make in (smaf_tiny_patch14_of_3, smaf_tiny_patch16_of_3):
        timm.models.register_model(make)
    root = tmp_path_factory.mktemp("rendered") / "data"
    render_demo_set(root, train=24, test=1, size=(128, 96))
    return root


def tiny(patch: int, options: dict[str, object]) -> torch.nn.Module:
    given = {key: value for key, value in options.items() if value is not None}
    model: torch.nn.Module = timm.create_model(
        "test_vit", img_size=112, patch_size=patch, depth=3, **given
    )
    return model


def trained(root: Path, out: Path, name: str, steps: int, *extra: str) -> Path:
    good(
        run(
            train_eps.main,
            *("--data_root", root, *RUN, *TRAINING, *extra),
            *("--backbone", name, "--steps", steps, "--out", out),
        )
    )
    return out / "classifier.pth"


def best_miou(root: Path, weights: Path, cams: Path) -> float:
    """Of the fused maps of the photographs at their best threshold."""
    data = ("--data_root", root, "--list", "train")
    views = ("--scales", "1.0", "--label_filter", "logits")
    good(run(gen_fusion.main, *data, *RUN[:4], "--weights", weights, *views, "--out", cams))
    good(run(evaluate.main, *data, "--cam_dir", cams, "--sweep", "--out", cams / "sweep.json"))
    return float(json.loads((cams / "sweep.json").read_text())["miou"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stride"), TINY.items())
def test_a_tiny_transformer_learns(rendered: Path, tmp_path: Path, name: str, stride: int) -> None:
    """240 steps of stage 0: masks of the photographs rise from what labels alone give (24 mIoU
    after one step) to about 36; a quarter of a minute."""
    mious = []
    for steps in (1, 240):
        weights = trained(rendered, tmp_path / str(steps), name, steps, "--pool", "max")
        info = read_checkpoint(weights).classifier
        assert info is not None and info.output_stride == stride
        mious.append(best_miou(rendered, weights, tmp_path / f"cams{steps}"))
    assert mious[1] > mious[0] + 0.06 and mious[1] > 0.30, mious


def test_attention_refines_fused_maps_and_masks(rendered: Path, tmp_path: Path) -> None:
    """Other values at the same places, in 0..1; masks of the network are those of its maps."""
    name = "smaf_tiny_patch14_of_3"
    weights = trained(rendered, tmp_path / "eps", name, 2)
    data = ("--data_root", rendered, *RUN, "--weights", weights)
    views = ("--scales", "0.5", "1.0")
    for folder, extra in (("plain", ()), ("refined", ("--attention_refine",))):
        good(run(gen_fusion.main, *data, *views, *extra, "--out", tmp_path / folder))
    refine = (*views, "--attention_refine", "--threshold", "0.6")
    good(run(gen_pm.main, *data, *refine, "--out", tmp_path / "masks"))
    stored = ("--cam_dir", tmp_path / "refined", "--threshold", "0.6")
    good(run(gen_pm.main, *data[:-2], *stored, "--out", tmp_path / "again"))
    for path in sorted((tmp_path / "plain").glob("*.npz")):
        maps = [
            read_fused(tmp_path / folder / path.name, num_classes=len(CLASSES))
            for folder in ("plain", "refined")
        ]
        assert maps[0].keys() == maps[1].keys()
        for c, plane in maps[1].items():
            assert plane.min() >= 0 and plane.max() <= 1
            assert np.abs(plane - maps[0][c]).max() > 0.01
        best = np.sort(np.stack([np.full_like(plane, 0.6), *maps[1].values()]), axis=0)
        clear = best[-1] - best[-2] > 0.01  # stored maps are rounded
        masks = [
            read_mask(tmp_path / folder / f"{path.stem}.png").astype(int)
            for folder in ("masks", "again")
        ]
        assert np.array_equal(masks[0][clear], masks[1][clear])


def test_a_network_without_attention_is_refused_before_it_runs(
    rendered: Path, tmp_path: Path
) -> None:
    weights = trained(rendered, tmp_path / "eps", "test_efficientnet", 1)
    for main in (gen_fusion.main, gen_pm.main):
        out = tmp_path / "out"
        data = ("--data_root", rendered, *RUN, "--weights", weights, "--out", out)
        done = run(main, *data, "--attention_refine")
        assert done.status == 2 and len(done.lines) == 1
        assert done.lines[0].startswith(
            "error: --attention_refine: test_efficientnet has no attention over the whole image"
        )
        assert not out.exists()


@pytest.mark.parametrize(("pool", "score"), [("mean", 0.5), ("max", 2.0)])
def test_pool_by_hand(pool: str, score: float) -> None:
    """A class's map has 2 in one of four cells: score 0.5 or 2, loss log(1 + e^-score)."""

    class Cells(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> ClassifierOutput:
            cam = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
            return ClassifierOutput(cam.mean(dim=(2, 3)), cam, cam)

    batch = {"image": torch.zeros(1, 3, 2, 2), "labels": torch.ones(1, 1)}
    loss, _ = EpsTask(saliency=False, pool=pool).loss(Cells(), batch)
    assert float(loss) == pytest.approx(np.log1p(np.exp(-score)), rel=1e-6)
