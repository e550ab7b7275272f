"""The ladder: its rungs, whose maps they cut, and thresholds chosen where nobody trained."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from run_set import write_recipe
from small_set import make_set

from smaf.core.fused_maps import read_fused

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "ladder.py"
RUNGS = ("EPS, fused", "self-trained", "network", "network, second round")


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("ladder", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_ladder(ladder: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = make_set(tmp_path / "set"), tmp_path / "out"
    (root / "ImageSets/Segmentation/some.txt").write_text("p1\np4\n")
    words = ["--data_root", root, "--out", out, "--recipe", write_recipe(tmp_path / "recipe")]
    words += ["--train_on", "train", "--choose_on", "some", "--seeds", "7"]
    ladder.main([*map(str, words), "--saliency_weight", "0.6", "--rungs", *RUNGS])
    assert (out / "held_out/list.txt").read_text().split() == ["p0", "p2", "p3", "p5"]
    rows = json.loads((out / "seed_7/ladder.json").read_text())["rows"]
    assert list(rows) == [f"{rung}{crf}" for rung in RUNGS for crf in ("", *ladder.MORE)]
    chosen = json.loads((out / "held_out/ladder.json").read_text())["rows"]
    for rung in RUNGS:
        sweep = f"sweep_{rung.replace(', ', '_').replace(' ', '_')}.json"
        best = json.loads((out / "held_out" / sweep).read_text())["threshold"]
        assert chosen[rung]["threshold"] == best
        tried = {round(best + step, 2) for step in ladder.CRF_STEPS}
        assert {chosen[rung + more]["threshold"] for more in ladder.MORE} <= tried
        folder = out / "seed_7" / rung.replace(", ", "_").replace(" ", "_")
        for more, weight in (("", 0.0), (" + CRF", 0.0), (" + saliency + CRF", 0.6)):
            ending = {"": "", " + CRF": "_crf"}.get(more, "_crf_salient")
            name = f"masks_{chosen[rung + more]['threshold']:.2f}{ending}"
            made = json.loads((folder / name / "run.json").read_text())[-1]["settings"]
            assert made["saliency_weight"] == weight
    # the network's maps of known classes are scaled as stage 1's; each round learns its own masks
    maps = read_fused(out / "seed_7/cam_network_val/p6.npz", num_classes=3)
    assert all(np.max(plane) == pytest.approx(1.0, abs=2e-3) for plane in maps.values())
    taught = []
    for folder in ("segmenter_masks", "segmenter_2_masks"):
        made = json.loads((out / f"seed_7/{folder}/run.json").read_text())[-1]["settings"]
        assert made["crf"] == "maps" and made["threshold"] == 0.38
        assert made["saliency_weight"] == 0.0  # networks learn masks without
        taught.append(made["contents of --cam_dir"])
    assert taught[0] != taught[1]
    table = (out / "ladder.md").read_text()
    assert table in capsys.readouterr().out and "| network, second round + CRF | " in table
