"""`--precision auto`: what a trial of two networks chooses, and that a run keeps its choice."""

from __future__ import annotations

import copy
import json
import logging
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_set import CLASSES, SGD, good, run, same, stage0, stage1, stage3, weights_of
from test_two_processes import start
from torch import Tensor, nn

from smaf import test_seg
from smaf.core.device import PRECISIONS
from smaf.core.fused_maps import read_fused
from smaf.engine import precision
from smaf.engine.outputs import Output
from smaf.engine.plans import Compute
from smaf.engine.precision import Trial, inference_trial, slowdown, training_trial, with_precision
from smaf.engine.stages.gen_fusion import FusionPlan
from smaf.engine.training.loop import Trainer
from smaf.models import LIGHT, build_classifier, build_segmenter, write_checkpoint
from smaf.models.export import can_export, export_onnx

AUTO = ("--precision", "auto")
PLAN = FusionPlan(compute=Compute(precision="auto"))
CPU = torch.device("cpu")


class Clock:
    """A clock that goes on where a :class:`Layer` works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sides: list[tuple[str, int]] = []  # of the images of each pass


class Layer(nn.Module):
    """Takes `fp32` or `bf16` seconds for 64×64 pixels; its result needs a gradient in training."""

    def __init__(self, clock: Clock, fp32: float, bf16: float) -> None:
        super().__init__()
        self.clock, self.fp32, self.bf16 = clock, fp32, bf16
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        rounded = torch.is_autocast_enabled("cpu")
        self.clock.sides.append(("bf16" if rounded else "fp32", images.shape[3]))
        self.clock.now += (self.bf16 if rounded else self.fp32) * (images.shape[3] / 64) ** 2
        return images * self.weight


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def trial_of(clock: Clock, fp32: float, bf16: float, *, layers: int = 1) -> Trial:
    """A network of layers that take so many seconds together."""
    network = nn.Sequential(*(Layer(clock, fp32 / layers, bf16 / layers) for _ in range(layers)))
    return Trial(network, network)


def choose(
    out: Path, trial: Trial | None, *, device: torch.device = CPU, overwrite: bool = False
) -> str:
    given = None if trial is None else lambda: trial
    plan = with_precision(PLAN, Output(out, overwrite), device=device, trial=given)
    assert PLAN.compute.precision == "auto" and plan.changed(precision="auto") == PLAN
    return plan.compute.precision


def fixed(monkeypatch: pytest.MonkeyPatch, times: float | None) -> None:
    """Let trials find that bf16 takes so many times as long; None: there must be no trial."""

    def found(trial: Trial) -> float:
        assert times is not None, "a trial"
        return times

    monkeypatch.setattr(precision, "slowdown", found)


def recorded(out: Path) -> str:
    name: str = json.loads((out / "run.json").read_text())[-1]["settings"]["precision"]
    return name


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen", "told"),
    [
        (0.01, 0.005, "bf16", "bf16 (it takes 0.5 times as long here)"),
        (0.005, 0.0155, "fp32", "fp32 (bf16 takes 3.1 times as long here)"),
        (0.01, 0.0095, "fp32", "fp32 (bf16 takes 0.95 times as long here)"),  # the clock's
    ],
)
def test_the_trial_picks_the_faster_one(
    fp32: float,
    bf16: float,
    chosen: str,
    told: str,
    clock: Clock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "smaf")
    assert choose(tmp_path, trial_of(clock, fp32, bf16)) == chosen
    assert caplog.messages == [f"precision auto: {told}"]


def test_images_grow_as_far_as_a_second_goes(clock: Clock) -> None:
    """0.015 s a pair of passes at 64, three pairs a side: 0.0025 + 0.045 + 0.18 + 0.72 s."""
    assert slowdown(trial_of(clock, 0.01, 0.005)) == pytest.approx(0.5)
    assert clock.now == pytest.approx(0.9475)
    pairs = [("fp32", "bf16")] * 3
    assert clock.sides[0] == ("fp32", 32)
    assert clock.sides[1:] == [(p, s) for s in (64, 128, 256) for pair in pairs for p in pair]


def test_a_pass_that_takes_too_long_is_cut(clock: Clock) -> None:
    """14 times as long: from the fourth of ten layers on it is 0.42 s, more than 3 × 0.1."""
    assert slowdown(trial_of(clock, 0.1, 1.4, layers=10)) == math.inf
    assert clock.now == pytest.approx(0.025 + 0.1 + 3 * 0.14)
    assert clock.sides[-3:] == [("bf16", 64)] * 3 and len(clock.sides) == 23
    # one that cannot be cut is not tried again
    clock.now = 0.0
    assert slowdown(trial_of(clock, 0.1, 1.4)) == pytest.approx(14)
    assert clock.now == pytest.approx(0.025 + 0.1 + 1.4)


def test_a_large_network_has_one_pass_in_each(clock: Clock) -> None:
    assert slowdown(trial_of(clock, 3.0, 2.0)) == pytest.approx(2 / 3)
    assert clock.sides == [("fp32", 32), ("fp32", 64), ("bf16", 64)]


@pytest.mark.parametrize(("seconds", "backward"), [(0.01, True), (0.2, False)])
def test_passes_go_backward_where_there_is_time(
    seconds: float, backward: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Tensor] = []
    monkeypatch.setattr(Tensor, "backward", lambda self: calls.append(self))
    trial = trial_of(clock, seconds, seconds)
    slowdown(Trial(trial.fp32, trial.bf16, training=True))
    assert bool(calls) is backward


@pytest.mark.parametrize(("has", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_cuda_tells_whether_it_has_bf16(
    has: bool, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: asked.append(how) or has)
    fixed(monkeypatch, None)
    trial = Trial(nn.Identity(), nn.Identity())
    assert choose(tmp_path, trial, device=torch.device("cuda", 0)) == chosen
    assert asked == [{"including_emulation": False}]
    assert choose(tmp_path, trial, device=torch.device("mps")) == "fp32"
    assert choose(tmp_path, None, device=torch.device("cuda", 0)) == "fp32"  # no network is run


@pytest.mark.parametrize("name", PRECISIONS)
def test_what_is_named_stays(name: str, tmp_path: Path) -> None:
    plan = PLAN.changed(precision=name)
    assert with_precision(plan, Output(tmp_path), device=CPU, trial=None) is plan


def test_a_trial_changes_nothing_in_a_network() -> None:
    """Weights, BatchNorm's statistics, gradients, mode, random states."""
    model = build_classifier("test_efficientnet", num_classes=3)
    model.freeze_batchnorm = False
    model.set_trainable().train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    trial = training_trial(model)
    assert slowdown(trial) > 0
    assert trial.fp32 is trial.bf16 is not model and trial.fp32.training and trial.training
    assert same(model.state_dict(), before) and torch.equal(torch.get_rng_state(), random)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert not any(layer._forward_pre_hooks for layer in trial.bf16.modules())


def test_networks_that_predict_are_tried_as_they_run() -> None:
    """In fp32 the folded network; a segmentation network gives one tensor, in training a list."""
    light = build_classifier(LIGHT, num_classes=2)
    folded = inference_trial(light)
    assert folded.bf16 is light and folded.fp32 is not light and not folded.fp32.training
    segmenter = build_segmenter("test_efficientnet", num_classes=3)
    for trial in (folded, inference_trial(segmenter), training_trial(segmenter)):
        assert all(trial.seconds(name, 64) > 0 for name in ("fp32", "bf16"))


def test_a_run_keeps_its_choice(
    small: Path, classifier: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch, 0.5)
    out, named = tmp_path / "auto", tmp_path / "bf16"
    done = good(stage1(small, classifier, out, *AUTO))
    assert done.err.count("precision auto: bf16 (it takes 0.5 times as long here)") == 1
    assert recorded(out) == "bf16"
    good(stage1(small, classifier, named, "--precision", "bf16"))
    # a run that was stopped: no trial, and the map is that of the same precision
    fixed(monkeypatch, None)
    (out / "p3.npz").unlink()
    done = good(stage1(small, classifier, out, *AUTO))
    assert f"precision auto: bf16 (as {out} was begun)" in done.lines and "7 of 8" in done.err
    differences = 0.0
    for image_id in ("p2", "p3"):
        ours, theirs, exact = (
            read_fused(folder / f"{image_id}.npz", num_classes=3) for folder in (out, named, cams)
        )
        assert all(np.array_equal(ours[c], theirs[c]) for c in theirs)
        differences += sum(float(np.abs(ours[c] - exact[c]).max()) for c in exact)
    assert differences > 0
    refused = stage1(small, classifier, out)
    assert refused.status == 2 and "precision was 'bf16', is 'fp32'" in refused.err
    fixed(monkeypatch, math.inf)
    done = good(stage1(small, classifier, out, *AUTO, "--overwrite"))
    assert "precision auto: fp32 (bf16 takes more than 3 times as long here)" in done.lines
    assert recorded(out) == "fp32"


def test_a_run_in_fp32_goes_on_under_auto(
    small: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good(stage1(small, classifier, tmp_path / "out"))
    fixed(monkeypatch, None)
    for setting in ("", "precision", "threads"):  # the latter were not there in old versions
        entries = json.loads((tmp_path / "out/run.json").read_text())
        entries[-1]["settings"].pop(setting, None)
        (tmp_path / "out/run.json").write_text(json.dumps(entries))
        done = good(stage1(small, classifier, tmp_path / "out", *AUTO))
        assert "8 of 8 images are done" in done.err and recorded(tmp_path / "out") == "fp32"


def test_a_training_goes_on_in_its_precision(
    small: Path, tmp_path: Path, dropout: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after two of four steps, it gives the bits of one whose precision was named."""
    options = ("--steps", 4, *SGD, "--checkpoint_minutes", 0)
    good(stage0(small, tmp_path / "bf16", *options, "--precision", "bf16"))
    step = Trainer._step

    def stop(self: Trainer, *rest: object) -> object:
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self, *rest)  # type: ignore[arg-type]

    fixed(monkeypatch, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stop)
        assert stage0(small, tmp_path / "auto", *options, *AUTO).status == 130
    fixed(monkeypatch, None)
    done = good(stage0(small, tmp_path / "auto", *options, *AUTO, "--resume"))
    assert "goes on at step 2 of 4" in done.err and recorded(tmp_path / "auto") == "bf16"
    names = [tmp_path / name / "classifier.pth" for name in ("auto", "bf16")]
    assert same(*map(weights_of, names))


def test_a_real_trial_leaves_a_training_as_it_is(
    small: Path, tmp_path: Path, dropout: None
) -> None:
    options = ("--steps", 2, *SGD)
    done = good(stage0(small, tmp_path / "auto", *options, *AUTO))
    found = re.search(
        r"precision auto: (\w+) \((it|bf16) takes (more than )?[\d.]+ times", done.err
    )
    assert found and found[1] == recorded(tmp_path / "auto")
    good(stage0(small, tmp_path / "named", *options, "--precision", found[1]))
    names = [tmp_path / name / "classifier.pth" for name in ("auto", "named")]
    assert same(*map(weights_of, names))


def test_masks_of_a_segmenter(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is tried; an ONNX file has no precision to choose."""
    torch.manual_seed(0)
    model = build_segmenter("test_efficientnet", num_classes=4)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.mul_(2.0)
    write_checkpoint(tmp_path / "s.pth", model, CLASSES)

    def masks(weights: str, out: str, *extra: object) -> Path:
        words = ("--data_root", small, "--weights", tmp_path / weights, "--out", tmp_path / out)
        good(run(test_seg.main, *words, "--device", "cpu", "--no_evaluate", *extra))
        return tmp_path / out

    fixed(monkeypatch, 0.5)
    auto, named = masks("s.pth", "auto", *AUTO), masks("s.pth", "named", "--precision", "bf16")
    assert recorded(auto) == recorded(named) == "bf16"
    pairs = [(path, named / path.name) for path in auto.glob("*.png")]
    assert len(pairs) == 2 and all(a.read_bytes() == b.read_bytes() for a, b in pairs)
    if not can_export():
        return
    export_onnx(tmp_path / "s.onnx", model, CLASSES)
    fixed(monkeypatch, None)
    assert recorded(masks("s.onnx", "onnx", *AUTO)) == "fp32"


def test_stored_maps_need_no_trial(
    small: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch, None)
    done = good(stage3(small, tmp_path / "masks", "--cam_dir", cams, *AUTO))
    assert recorded(tmp_path / "masks") == "fp32" and "precision auto" not in done.err


@pytest.mark.slow
def test_the_first_of_two_processes_decides(tmp_path: Path) -> None:
    """Each would choose another precision; the second makes no trial."""
    script = tmp_path / "choose.py"
    script.write_text(
        "import sys, torch\nfrom pathlib import Path\n"
        "from smaf.engine import distributed, precision\n"
        "from smaf.engine.outputs import Output\nfrom smaf.engine.plans import Compute\n"
        "from smaf.engine.stages.gen_fusion import FusionPlan\n"
        "rank, cpu = distributed.rank(), torch.device('cpu')\n"
        "precision.slowdown = lambda trial: (0.5, 2.0)[rank]\n"
        "with distributed.process_group(cpu):\n"
        "    plan = precision.with_precision(FusionPlan(compute=Compute(precision='auto')),\n"
        "        Output(Path(sys.argv[1])), device=cpu, trial=lambda: None)\n"
        "Path(sys.argv[1], str(rank)).write_text(plan.compute.precision)\n"
    )
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    subprocess.run([sys.executable, *launch, script, tmp_path], check=True, capture_output=True)
    assert [(tmp_path / name).read_text() for name in "01"] == ["bf16", "bf16"]


@pytest.mark.slow
def test_two_processes_train_under_auto(small: Path, tmp_path: Path) -> None:
    words = ("--data_root", small, "--list", "train", "--out", tmp_path / "out", "--steps", 1)
    network = ("--backbone", "test_efficientnet", "--weights", "none", "--crop", 64, *SGD)
    process = start("train_eps", *words, *network, "--batch_size", 2, *AUTO)
    err = process.communicate(timeout=300)[1]
    assert process.returncode == 0, err
    assert err.count("precision auto:") == 1 and recorded(tmp_path / "out") in PRECISIONS
