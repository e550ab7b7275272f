"""A training that was stopped and resumed ends with the very weights of one that ran through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_set import ADAMW, NETWORK, SGD, good, same, stage0, stage2, stamps, weights_of

from smaf.engine.training import loop
from smaf.engine.training.loop import Trainer

PRODA = (
    "--ema",
    "--ema_decay",
    "0.9",
    "--rectify",
    "proda",
    "--moving_prototype",
    "--prototype_momentum",
    "0.1",
)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], Any]) -> None:
    """Do something at the end of a step, before the loop thinks of its checkpoint."""
    report: Callable[..., None] = Trainer._report

    def acting(self: Trainer, *rest: Any) -> None:
        report(self, *rest)
        if self.step == step:
            act()

    monkeypatch.setattr(Trainer, "_report", acting)


def ask_to_stop(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    at_step(monkeypatch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))


@pytest.mark.parametrize("optimiser", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_stopped_stage_0_ends_as_one_that_ran_through(
    optimiser: tuple[str, ...],
    small: Path,
    tmp_path: Path,
    dropout: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    good(stage0(small, whole, "--steps", 6, *optimiser))
    with monkeypatch.context() as patch:
        ask_to_stop(patch, 3)
        stopped = stage0(small, parts, "--steps", 6, *optimiser, "--num_workers", 2)
    assert stopped.status == 130
    assert stopped.lines == ["stopped: run the same command again, it goes on where it stopped"]
    assert torch.load(parts / "checkpoint.pth", weights_only=True)["step"] == 3
    assert not (parts / "classifier.pth").exists()
    resumed = good(stage0(small, parts, "--steps", 6, *optimiser, "--num_workers", 2, "--resume"))
    assert f"{parts}: goes on at step 3 of 6" in resumed.lines
    assert same(weights_of(whole / "classifier.pth"), weights_of(parts / "classifier.pth"))


def test_random_state_is_what_makes_the_difference(
    small: Path, tmp_path: Path, dropout: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it dropout draws other masks: the tests above would notice a checkpoint that forgets
    it."""
    good(stage0(small, tmp_path / "whole", "--steps", 4, *SGD))
    with monkeypatch.context() as patch:
        ask_to_stop(patch, 2)
        stage0(small, tmp_path / "parts", "--steps", 4, *SGD)
    monkeypatch.setattr(loop, "set_random_states", lambda states: None)
    good(stage0(small, tmp_path / "parts", "--steps", 4, *SGD))
    assert not same(
        weights_of(tmp_path / "whole/classifier.pth"), weights_of(tmp_path / "parts/classifier.pth")
    )


def test_killed_run_goes_on_from_its_last_checkpoint(
    small: Path, tmp_path: Path, dropout: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed() -> None:
        raise Killed

    good(stage0(small, tmp_path / "whole", "--steps", 5, *ADAMW))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_step(patch, 4, killed)
        stage0(small, tmp_path / "parts", "--steps", 5, *ADAMW, "--checkpoint_minutes", 0)
    assert torch.load(tmp_path / "parts/checkpoint.pth", weights_only=True)["step"] == 3
    good(stage0(small, tmp_path / "parts", "--steps", 5, *ADAMW))
    assert same(
        weights_of(tmp_path / "whole/classifier.pth"), weights_of(tmp_path / "parts/classifier.pth")
    )


def test_stopped_stage_2_keeps_teacher_and_prototypes(
    small: Path,
    classifier: Path,
    cams: Path,
    tmp_path: Path,
    dropout: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--steps", 6, *ADAMW, *PRODA)
    good(stage2(small, classifier, cams, whole, *options))
    with monkeypatch.context() as patch:
        ask_to_stop(patch, 2)
        assert stage2(small, classifier, cams, parts, *options, "--num_workers", 2).status == 130
    halfway = torch.load(parts / "checkpoint.pth", weights_only=True)["task"]
    good(stage2(small, classifier, cams, parts, *options, "--num_workers", 2))
    for name in ("classifier.pth", "classifier_ema.pth"):
        assert same(weights_of(whole / name), weights_of(parts / name)), name
    tasks = [
        torch.load(folder / "checkpoint.pth", weights_only=True)["task"]
        for folder in (whole, parts)
    ]
    assert same(tasks[0]["teacher"], tasks[1]["teacher"])
    assert torch.equal(tasks[0]["prototypes"], tasks[1]["prototypes"])
    assert not torch.equal(halfway["prototypes"], tasks[0]["prototypes"])
    assert not same(weights_of(whole / "classifier.pth"), weights_of(whole / "classifier_ema.pth"))


@pytest.mark.slow
def test_ctrl_c_stops_a_real_process_after_its_step(small: Path, tmp_path: Path) -> None:
    steps = ("--steps", "60", *SGD)
    parts = tmp_path / "parts"
    command = [
        sys.executable,
        "-m",
        "smaf.train_eps",
        "--data_root",
        str(small),
        "--list",
        "train",
        "--out",
        str(parts),
        *NETWORK,
        "--crop",
        "64",
        "--resize_long",
        "48",
        "72",
        "--batch_size",
        "2",
        "--device",
        "cpu",
        "--num_workers",
        "1",
        "--checkpoint_minutes",
        "0",
        *steps,
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while (
        not (parts / "checkpoint.pth").is_file()
        and process.poll() is None
        and time.monotonic() < until
    ):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it, too
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130, err
    assert (
        err.splitlines()[-1] == "stopped: run the same command again, it goes on where it stopped"
    )
    assert "Traceback" not in err
    assert 1 <= torch.load(parts / "checkpoint.pth", weights_only=True)["step"] < 60
    assert not list(parts.rglob("*.part"))
    good(stage0(small, parts, *steps, "--resume"))
    good(stage0(small, tmp_path / "whole", *steps))
    assert same(weights_of(tmp_path / "whole/classifier.pth"), weights_of(parts / "classifier.pth"))


def test_folder_of_a_run_is_guarded(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    missing = stage0(small, out, "--steps", 2, *SGD, "--resume")
    assert missing.status == 2
    assert len(missing.lines) == 1 and missing.lines[0].startswith(
        f"error: --resume: {out}/checkpoint.pth does not"
    )
    good(stage0(small, out, "--steps", 2, *SGD))
    first, files = weights_of(out / "classifier.pth"), stamps(out)

    other = stage0(small, out, "--steps", 2, *SGD, "--lr", 0.02)
    assert (
        other.status == 2
        and "lr was 0.01, is 0.02" in other.lines[0]
        and "--overwrite" in other.lines[0]
    )
    both = stage0(small, out, "--steps", 2, *SGD, "--resume", "--overwrite")
    assert both.status == 2 and "exclude each other" in both.lines[0]
    again = good(stage0(small, out, "--steps", 2, *SGD))
    assert again.lines[-1] == f"{out}/classifier.pth is finished; --overwrite trains it again"
    assert stamps(out) == files

    good(stage0(small, out, "--steps", 2, *SGD, "--lr", 0.02, "--overwrite"))
    good(stage0(small, tmp_path / "fresh", "--steps", 2, *SGD, "--lr", 0.02))
    assert same(weights_of(out / "classifier.pth"), weights_of(tmp_path / "fresh/classifier.pth"))
    assert not same(weights_of(out / "classifier.pth"), first)
