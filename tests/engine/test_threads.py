"""`--threads`: as many as asked for in the block, as many as before after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_set import CLASSES, SGD, good, needs_export, run, stage0, stage1

from smaf import predict, test_seg
from smaf.core.device import cpu_threads
from smaf.engine import fused
from smaf.engine.plans import crf_threads
from smaf.engine.predicting import open_network
from smaf.engine.predicting.onnx_network import OnnxNetwork
from smaf.engine.training.loop import Trainer
from smaf.models import build_segmenter, write_checkpoint
from smaf.models.export import can_export, export_onnx, export_program

IMAGES = np.zeros((1, 3, 32, 48), dtype=np.float32)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as checkpoint and, where PyTorch exports, as ONNX file and program; return the
    checkpoint's path."""
    path = tmp_path_factory.mktemp("networks") / "s.pth"
    model = build_segmenter("test_efficientnet", num_classes=4)
    write_checkpoint(path, model, CLASSES)
    if can_export():
        export_onnx(path.with_suffix(".onnx"), model, CLASSES)
        export_program(path.with_suffix(".pt2"), model, CLASSES)
    return path


def threads_of(network: OnnxNetwork) -> int:
    count: int = network.session.get_session_options().intra_op_num_threads
    return count


def test_the_count_of_before_comes_back() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 2):
        assert torch.get_num_threads() == before + 2
        with cpu_threads(None):
            assert torch.get_num_threads() == before + 2
    with pytest.raises(KeyError), cpu_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


def test_at_most_two_crfs_run_at_once() -> None:
    assert [crf_threads(threads) for threads in (1, 2, 3, 64)] == [1, 2, 2, 2]
    for threads in (1, 3):
        with cpu_threads(threads):
            assert crf_threads() == min(threads, 2)


def test_stages_compute_with_them(
    small: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They decide no result: a run goes on with another count."""
    before, seen = torch.get_num_threads(), []

    def watched(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def call(*args: Any, **named: Any) -> Any:
            seen.append(torch.get_num_threads())
            return function(*args, **named)

        monkeypatch.setattr(owner, name, call)

    watched(fused, "fuse_cams")
    watched(Trainer, "_step")
    good(stage1(small, classifier, tmp_path / "cams", "--threads", before + 2))
    assert seen == [before + 2] * 8 and torch.get_num_threads() == before
    entry = json.loads((tmp_path / "cams/run.json").read_text())[-1]
    assert entry["settings"]["threads"] == before + 2 and "threads" in entry["free"]
    (tmp_path / "cams/p0.npz").unlink()
    good(stage1(small, classifier, tmp_path / "cams"))
    assert seen[8:] == [before]
    good(stage0(small, tmp_path / "eps", "--steps", 1, *SGD, "--threads", before + 1))
    assert seen[9:] == [before + 1] and torch.get_num_threads() == before
    done = stage1(small, classifier, tmp_path / "cams", "--threads", 0)
    assert done.status == 2 and "--threads 0: expected more than 0" in done.err


@needs_export
def test_onnx_runtime_takes_them(segmenter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those asked for, else one process's share of the cores, else (0) as many as cores."""
    onnx = segmenter.with_suffix(".onnx")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of(OnnxNetwork(onnx)) == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert threads_of(OnnxNetwork(onnx)) == 3
    network = open_network(str(onnx), threads=2)
    assert isinstance(network, OnnxNetwork) and threads_of(network) == 2


@pytest.mark.parametrize("suffix", [".pth", pytest.param(".pt2", marks=needs_export)])
def test_pytorch_takes_them_for_each_pass(
    suffix: str, segmenter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), []
    network: Any = open_network(str(segmenter.with_suffix(suffix)), "cpu", threads=before + 1)
    inner = network.model if suffix == ".pth" else network.program
    inner.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    network.cam(IMAGES)
    assert seen == [before + 1] and torch.get_num_threads() == before


@needs_export
def test_commands_hand_them_on(
    small: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[OnnxNetwork] = []
    init = OnnxNetwork.__init__

    def watched(self: OnnxNetwork, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        opened.append(self)

    monkeypatch.setattr(OnnxNetwork, "__init__", watched)
    onnx = ("--weights", segmenter.with_suffix(".onnx"), "--threads", 2)
    photo = small / "JPEGImages/p0.jpg"
    good(run(predict.main, photo, "--out", tmp_path / "predicted", *onnx))
    data = ("--data_root", small, "--no_evaluate", "--device", "cpu")
    good(run(test_seg.main, *data, "--out", tmp_path / "masks", *onnx))
    assert [threads_of(network) for network in opened] == [2, 2]
