"""The benchmark scripts run, at tiny sizes, and what they write can be read."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_set import good, make_set, needs_export, run, stage0

from smaf import saliency
from smaf.models import build_classifier, write_checkpoint

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def start(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a script of `benchmarks` to its end, on one thread."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{name}.py", *map(str, words)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def results(tmp_path: Path, name: str, *words: object) -> tuple[dict[str, Any], str]:
    """What a script wrote: its JSON, and its Markdown, which it printed, too."""
    out, table = tmp_path / "out.json", tmp_path / "out.md"
    done = start(name, *words, "--quick", "--out", out, "--markdown", table)
    assert done.returncode == 0, done.stderr
    assert table.read_text() in done.stdout
    return json.loads(out.read_text()), table.read_text()


def test_speed_compares_both_sides(tmp_path: Path) -> None:
    """Samples and scores agree; the CRF needs pydensecrf, and says so."""
    found, table = results(tmp_path, "speed", "--rows", "crf,evaluate", "sample-2", "--rounds", 1)
    rows = {row["row"]: row for row in found["rows"]}
    assert list(rows) == ["crf-labels", "crf-softmax-2", "crf-softmax-21", "sample-2", "evaluate"]
    left_out = {name for name, row in rows.items() if "note" in row}
    crf = {name for name in rows if name.startswith("crf")}
    assert left_out == (set() if importlib.util.find_spec("pydensecrf") else crf)
    assert rows["evaluate"]["difference"] < 1e-9
    assert 0 < rows["sample-2"]["difference"] < 2e-3  # thousandths are stored
    for name in rows.keys() - left_out:
        row = rows[name]
        assert row["same"] and f"`{name}`" in table
        pair = row["rounds"][0]
        assert row["wall_ratio"] == pair["published"]["wall"] / pair["ours"]["wall"]
        assert pair["ours"]["peak"] > 2**26
    assert found["cores"] >= 1 and found["versions"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("stage", [0, 2, 4])
def test_a_published_step_has_the_same_loss(tmp_path: Path, stage: int) -> None:
    found, _ = results(tmp_path, "speed", "--rows", f"step-light-{stage}", "--rounds", 1)
    assert found["rows"][0]["difference"] < 1e-4


def test_unknown_rows_are_named() -> None:
    done = start("speed", "--rows", "fusion")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --rows fusion: expected some of fuse-resnet38, ")


def test_the_script_for_gpus_runs_on_the_cpu(tmp_path: Path) -> None:
    found, table = results(tmp_path, "gpu", "--device", "cpu")
    commands = [(stage["command"], stage["precision"]) for stage in found["stages"]]
    assert len(commands) == 21 and commands[0] == ("train_eps", "fp32")
    checks = {check["what"]: check["apart"] for check in found["checks"]}
    assert checks["fused maps, fp32"] == checks["loss of stage 4, fp32"] == 0.0
    assert 0.0 < checks["fused maps, bf16"] < 0.2
    assert checks["weights after stage 0, 2 processes and one"] < 1e-4
    assert len(found["sizes"]) == 5 and "DeepLab-V2, step of stage 4" in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_cuda_one_line_says_so() -> None:
    done = start("gpu")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "error: --device cuda: PyTorch finds no CUDA device here: use --device auto or --device cpu"
    ]


def test_reported_classes_are_chosen_and_counted(tmp_path: Path) -> None:
    """Chosen settings have no lower F1 than any that were tried; other classes are refused."""
    data = make_set(tmp_path / "data")
    (tmp_path / "tiny").mkdir()
    weights, chosen = tmp_path / "tiny/classifier.pth", tmp_path / "chosen.json"
    model = build_classifier("test_efficientnet", num_classes=3, head="eps")
    write_checkpoint(weights, model, ("ball", "box", "tent"))
    words = ("--data_root", data, "--list", "train", "--choose", "--out", chosen)
    done = start("reported_classes", "--weights", weights, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(chosen.read_text())
    assert found["images"] == 6 and found["f1"] == max(row["f1"] for row in found["tried"])
    assert json.loads(done.stdout)["settings"]["score"] == found["settings"]["score"]
    refused = start("reported_classes", "--weights", "animals_lite0_seg", *words[:4])
    assert refused.returncode == 2 and "know cat, cow, dog" in refused.stderr


@needs_export
def test_a_saliency_network_is_trained_and_used(tmp_path: Path) -> None:
    """A stopped training goes on; `smaf saliency` takes the file; its maps are scored."""
    data, out = make_set(tmp_path / "data"), tmp_path / "network"
    pairs = f"{data / 'JPEGImages'}={data / 'SALImages'}"
    (tmp_path / "kept.txt").write_text("p6\np7\n")
    words = ("--pairs", pairs, "--keep_out", tmp_path / "kept.txt", "--num_workers", 0)
    words = (*words, "--steps", 3, "--batch_size", 2, "--side", 64, "--out", out)
    first = start("saliency_network", *words)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("6 photographs, 3 steps, from step 0")
    assert "from step 3" in start("saliency_network", *words).stdout
    assert json.loads((out / "saliency.json").read_text())["keep_out"] == ["p6", "p7"]
    maps = tmp_path / "maps"
    model = ("--model", out / "saliency.onnx", "--out", maps)
    good(run(saliency.main, "--data_root", data, "--list", "val", *model))
    listed = ("--maps", maps, "--list", data / "ImageSets/Segmentation/val.txt")
    truth = start("saliency_scores", *listed, "--masks", data / "SegmentationClassAug")
    teacher = start("saliency_scores", *listed, "--teacher", data / "SALImages")
    for done in (truth, teacher):
        found = json.loads(done.stdout)
        assert found["images"] == 2 and 0 < found["MAE"] < 1 and 0 < found["F"] <= 1


def test_how_well_quality_ranks(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    good(stage0(root, tmp_path / "eps", "--steps", 1))
    words = ("--data_root", root, "--list", "all", "--weights", tmp_path / "eps/classifier.pth")
    done = start("quality_ranks", *words, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        [p, "8"] for p in ("quality", "scales", "crf", "saliency")
    ]
    assert all(-1 <= float(line[-1]) <= 1 for line in lines)
    assert len((tmp_path / "out/quality.csv").read_text().splitlines()) == 9
