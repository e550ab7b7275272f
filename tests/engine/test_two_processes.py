"""Two processes under torchrun, on the CPU: the same weights as one process with twice the batch,
and all maps."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_set import NETWORK, PICTURES, SGD, distance, good, run, same, stage0, weights_of

from smaf import train_fusion, train_seg
from smaf.core.fused_maps import read_fused
from smaf.core.images import write_mask
from smaf.data.layout import open_data
from smaf.engine.outputs import locked
from smaf.models import build_segmenter

pytestmark = pytest.mark.slow


def start(module: str, *argv: object) -> subprocess.Popen[str]:
    """Start a module in two processes that meet at a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(port),
        "-m",
        f"smaf.{module}",
        *map(str, argv),
        "--num_workers",
        "0",
        "--device",
        "cpu",
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def torchrun(module: str, *argv: object) -> str:
    """Run a module in two processes; return what it wrote to standard error."""
    process = start(module, *argv)
    err = process.communicate(timeout=300)[1]
    assert process.returncode == 0, err
    return err


def test_two_processes_train_as_one_with_twice_the_batch(small: Path, tmp_path: Path) -> None:
    steps = ("--steps", 5, *SGD, "--lr", 1, "--val_list", "all", "--val_every", 3)
    alone = good(stage0(small, tmp_path / "one", *steps, "--batch_size", 4)).err
    together = torchrun(
        "train_eps",
        "--data_root",
        small,
        "--list",
        "train",
        "--out",
        tmp_path / "two",
        *NETWORK,
        "--crop",
        64,
        "--resize_long",
        48,
        72,
        "--batch_size",
        2,
        *steps,
    )
    one, two = (weights_of(tmp_path / name / "classifier.pth") for name in ("one", "two"))
    good(stage0(small, tmp_path / "half", *steps))
    assert distance(one, two) < 1e-4
    assert distance(one, weights_of(tmp_path / "half/classifier.pth")) > 5e-3
    # each validates its share of the list; the scores are of the whole
    scores = [
        re.findall(r"step (\d): validation mIoU ([\d.]+) %", err) for err in (alone, together)
    ]
    assert [step for step, _ in scores[0]] == [step for step, _ in scores[1]] == ["3", "5"]
    for (_, first), (_, second) in zip(*scores, strict=True):
        assert float(first) == pytest.approx(float(second), abs=0.1)


def test_stage_4_in_two_processes(small: Path, tmp_path: Path) -> None:
    """Crops without padding, so that every process has as many pixels to learn from."""
    data = open_data(small)
    for image_id in PICTURES:
        write_mask(
            tmp_path / "masks" / f"{image_id}.png",
            np.where(data.mask(image_id) == 255, 0, data.mask(image_id)),
        )
    options = (
        "--data_root",
        small,
        "--list",
        "train",
        "--target_dir",
        tmp_path / "masks",
        "--network",
        "test_efficientnet",
        "--weights",
        "none",
        "--crop",
        32,
        "--resize_long",
        48,
        72,
        "--accumulate",
        1,
        "--steps",
        4,
        "--lr",
        0.5,
    )
    good(
        run(
            train_seg.main,
            *options,
            "--out",
            tmp_path / "one",
            "--batch_size",
            4,
            "--num_workers",
            0,
            "--device",
            "cpu",
        )
    )
    torchrun("train_seg", *options, "--out", tmp_path / "two", "--batch_size", 2)
    one, two = (weights_of(tmp_path / name / "segmenter.pth") for name in ("one", "two"))
    assert distance(one, two) < 1e-4
    before = build_segmenter("test_efficientnet", num_classes=4).state_dict()
    assert distance(one, before) > 1e-2


def test_two_processes_write_every_map(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cams"
    torchrun(
        "gen_fusion",
        "--data_root",
        small,
        "--list",
        "all",
        "--weights",
        classifier,
        "--out",
        out,
        "--scales",
        0.5,
        1.0,
    )
    assert sorted(path.stem for path in out.glob("*.npz")) == sorted(PICTURES)
    for image_id in PICTURES:
        ours, theirs = (
            read_fused(folder / f"{image_id}.npz", num_classes=3) for folder in (out, cams)
        )
        assert ours.keys() == theirs.keys()
        assert all(np.abs(ours[c] - theirs[c]).max() <= 0.0011 for c in ours)


def test_both_processes_stop_after_the_same_step_and_go_on(small: Path, tmp_path: Path) -> None:
    options = (
        "--data_root",
        small,
        "--list",
        "train",
        *NETWORK,
        "--crop",
        64,
        "--resize_long",
        48,
        72,
        "--batch_size",
        2,
        "--steps",
        300,
        *SGD,
        "--checkpoint_minutes",
        0,
    )
    process = start("train_eps", *options, "--out", tmp_path / "parts")
    until = time.monotonic() + 120
    while (
        not (tmp_path / "parts/checkpoint.pth").is_file()
        and process.poll() is None
        and time.monotonic() < until
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=60)[1]
    assert "stopped: run the same command again" in err and "FutureWarning" not in err
    step = torch.load(tmp_path / "parts/checkpoint.pth", weights_only=True)["step"]
    assert 1 <= step < 300
    torchrun("train_eps", *options, "--out", tmp_path / "parts")
    torchrun("train_eps", *options, "--out", tmp_path / "whole")
    assert same(
        weights_of(tmp_path / "parts/classifier.pth"), weights_of(tmp_path / "whole/classifier.pth")
    )


def test_prototypes_are_computed_by_both(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    options = (
        "--data_root",
        small,
        "--list",
        "train",
        "--weights",
        classifier,
        "--cam_dir",
        cams,
        "--crop",
        64,
        "--resize_long",
        48,
        72,
        "--batch_size",
        2,
        "--steps",
        1,
        *SGD,
        "--rectify",
        "proda",
    )
    torchrun("train_fusion", *options, "--out", tmp_path / "two")
    good(
        run(
            train_fusion.main,
            *options,
            "--out",
            tmp_path / "one",
            "--num_workers",
            0,
            "--device",
            "cpu",
        )
    )
    one, two = (
        np.load(tmp_path / name / "prototypes_eps.npz")["prototypes"] for name in ("one", "two")
    )
    assert np.abs(one).max() > 0.01 and np.abs(one - two).max() < 1e-5


def test_a_refused_folder_ends_both_processes(small: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        process = start(
            "train_eps",
            "--data_root",
            small,
            "--list",
            "train",
            *NETWORK,
            "--steps",
            1,
            *SGD,
            "--out",
            tmp_path / "out",
        )
        err = process.communicate(timeout=60)[1]
    assert (
        process.returncode != 0
        and err.count(f"error: {tmp_path / 'out'} is in use by process {os.getpid()}") == 2
    )
