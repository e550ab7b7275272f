"""Two machines, as PyTorch's launcher sees them: two agents side by side, of one process each.

What they make is what one process makes, or one agent of two; a machine that dies, or is silent,
ends the other one, and the same command goes on.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_set import NETWORK, PICTURES, SGD, good, run, same, stage1, stage3, weights_of

from smaf import evaluate, refine_fusion, test_seg
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.core.terminal import LOST

pytestmark = pytest.mark.slow
CPU = ("--num_workers", 0, "--device", "cpu")
TRAINING = (*NETWORK, "--crop", 64, "--resize_long", 48, 72, "--batch_size", 2, *SGD, *CPU)
BOUND = 90.0  # seconds in which the loss of a machine must end the others


def start(how: str, *words: object) -> subprocess.Popen[str]:
    """Start `smaf.launch` with a number of processes, or torchrun's options."""
    return subprocess.Popen(
        [sys.executable, "-m", "smaf.launch", how, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def nodes(*words: object) -> list[subprocess.Popen[str]]:
    """Start two agents that meet at a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meet = f"--rdzv_backend c10d --rdzv_endpoint localhost:{port}"
    return [start(f"--nnodes 2 --nproc_per_node 1 {meet}", *words) for _ in range(2)]


def both(*words: object) -> list[tuple[str, str]]:
    """Run a command on two machines; return what each wrote to its two streams."""
    agents = nodes(*words)
    said = [agent.communicate(timeout=300) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    return said


def workers_of(agent: subprocess.Popen[str]) -> list[int]:
    """The processes that an agent has started."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text()
    return [int(child) for child in children.split()]


def until_there(path: Path, agents: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 180
    while not path.is_file() and time.monotonic() < deadline:
        assert [agent.poll() for agent in agents] == [None, None], agents[0].communicate()
        time.sleep(0.05)
    assert path.is_file()


def train_set(small: Path) -> tuple[object, ...]:
    return ("train_eps", "--data_root", small, "--list", "train", *TRAINING)


def test_two_machines_train_as_two_processes_of_one(small: Path, tmp_path: Path) -> None:
    words = (*train_set(small), "--steps", 5, "--val_list", "all", "--val_every", 5)
    said = both(*words, "--out", tmp_path / "nodes")
    assert sum("validation mIoU" in err for _, err in said) == 1
    process = start("2", *words, "--out", tmp_path / "one")
    assert process.communicate(timeout=300) and process.returncode == 0
    one, two = (weights_of(tmp_path / name / "classifier.pth") for name in ("one", "nodes"))
    assert same(one, two)


def test_two_machines_make_what_one_process_makes(
    small: Path, classifier: Path, tmp_path: Path
) -> None:
    """Maps, refined maps, pseudo masks and their scores, value by value."""
    one, two = tmp_path / "one", tmp_path / "nodes"
    data = ("--data_root", small, "--list", "all")
    views = ("--scales", 0.5, 1.0)
    both("gen_fusion", *data, "--weights", classifier, "--out", two / "maps", *views, *CPU)
    good(stage1(small, classifier, one / "maps"))
    refine = (*data, "--no_crf", "--saliency_weight", 0.5, "--num_workers", 0)
    for folder in (one, two):
        words = (*refine, "--cam_dir", folder / "maps", "--out", folder / "refined")
        both("refine_fusion", *words) if folder == two else good(run(refine_fusion.main, *words))
    for name in ("maps", "refined"):
        for image_id in PICTURES:
            a, b = (read_fused(f / name / f"{image_id}.npz", num_classes=3) for f in (one, two))
            assert a.keys() == b.keys() and all(np.array_equal(a[c], b[c]) for c in a)
    masks = ("--weights", classifier, "--evaluate")
    said = both("gen_pm", *data, *masks, "--out", two / "masks", *views, *CPU)
    alone = good(stage3(small, one / "masks", *masks))
    assert sorted("mIoU" in out for out, _ in said) == [False, True]
    assert next(out for out, _ in said if out) == alone.out.replace(str(one), str(two))
    for image_id in PICTURES:
        a, b = (read_mask(folder / f"masks/{image_id}.png") for folder in (one, two))
        assert np.array_equal(a, b)
    assert same_scores(one / "masks", two / "masks")


def same_scores(one: Path, two: Path) -> bool:
    a, b = (json.loads((folder / "evaluation_all.json").read_text()) for folder in (one, two))
    return bool(a == b and a["images"] == len(PICTURES))


@pytest.mark.parametrize("weights", ["animals_lite0_seg.pth", "animals_lite0_seg.onnx"])
def test_stage_4s_masks_and_a_sweep(
    animals: Path, cams: Path, small: Path, tmp_path: Path, weights: str
) -> None:
    ids = (animals / "ImageSets/Segmentation/val.txt").read_text().split()[:5]
    (tmp_path / "few.txt").write_text("\n".join(ids) + "\n")
    words = ("--data_root", animals, "--classes", "metadata/animals.txt", *CPU, "--weights")
    words = (*words, Path(evaluate.__file__).parent / "weights" / weights, "--long_side", 96)
    words = (*words, "--list", tmp_path / "few.txt", "--out")
    said = both("test_seg", *words, tmp_path / "nodes")
    alone = good(run(test_seg.main, *words, tmp_path / "one"))
    assert [out for out, _ in said if out] == [alone.out] and "mIoU" in alone.out
    for image_id in ids:
        a, b = (read_mask(tmp_path / name / f"{image_id}.png") for name in ("one", "nodes"))
        assert np.array_equal(a, b)
    if weights.endswith(".onnx"):
        return
    words = ("--data_root", small, "--list", "all", "--cam_dir", cams, "--sweep", "--out")
    both("evaluate", *words, tmp_path / "nodes.json")
    good(run(evaluate.main, *words, tmp_path / "one.json"))
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "nodes"))
    assert a == b and len(a["sweep"]) == 40


def test_a_fault_that_one_machine_meets_is_told_there(
    small: Path, classifier: Path, tmp_path: Path
) -> None:
    """The other one says that it lost a process, with a status that is worth another try."""
    (small / "JPEGImages/broken.jpg").write_bytes(b"")
    (tmp_path / "some.txt").write_text("p0\nbroken\n")
    words = ("--data_root", small, "--list", tmp_path / "some.txt", "--weights", classifier)
    labels = tmp_path / "labels.csv"
    labels.write_text("image,labels\np0,ball\nbroken,ball\n")
    try:
        agents = nodes("gen_fusion", *words, "--labels", labels, "--out", tmp_path / "maps", *CPU)
        said = [agent.communicate(timeout=300)[1] for agent in agents]
    finally:
        (small / "JPEGImages/broken.jpg").unlink()
    ends = {
        agent.returncode: err.replace("\r", "\n").splitlines()
        for agent, err in zip(agents, said, strict=True)
    }
    assert sorted(ends) == [2, LOST], said
    assert "broken" in ends[2][-1] and ends[2][-1].startswith("error: ")
    assert "same command again" in ends[LOST][-1] and ends[LOST][-1].startswith("error: ")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
@pytest.mark.parametrize("dying", [0, 1])
def test_a_machine_that_dies_ends_the_other_and_a_rerun_goes_on(
    small: Path, tmp_path: Path, dying: int
) -> None:
    words = (*train_set(small), "--steps", 60, "--checkpoint_minutes", 0, "--out")
    agents = nodes(*words, tmp_path / "parts")
    until_there(tmp_path / "parts/checkpoint.pth", agents)
    for pid in (agents[dying].pid, *workers_of(agents[dying])):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    _, err = agents[1 - dying].communicate(timeout=BOUND)
    print(f"ended after {time.monotonic() - killed:.1f} s: {err.splitlines()[-1]}")
    assert agents[1 - dying].returncode == LOST, err
    assert "same command again" in err.splitlines()[-1]
    agents[dying].communicate(timeout=60)
    assert any("goes on at step" in err for _, err in both(*words, tmp_path / "parts"))
    process = start("2", *words, tmp_path / "whole")
    assert process.communicate(timeout=300) and process.returncode == 0
    one, two = (weights_of(tmp_path / name / "classifier.pth") for name in ("whole", "parts"))
    assert same(one, two)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
@pytest.mark.parametrize("silent", [0, 1])
def test_a_machine_that_falls_silent_ends_the_other(
    small: Path, tmp_path: Path, silent: int
) -> None:
    """Its connections stay open, as those of one that lost its power do."""
    words = (*train_set(small), "--steps", 100000, "--checkpoint_minutes", 0)
    agents = nodes(*words, "--out", tmp_path / "out")
    until_there(tmp_path / "out/checkpoint.pth", agents)
    halted = [agents[silent].pid, *workers_of(agents[silent])]
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        _, err = agents[1 - silent].communicate(timeout=BOUND)
        print(f"ended after {time.monotonic() - begin:.1f} s: {err.splitlines()[-1]}")
    finally:
        for pid in halted:
            os.kill(pid, signal.SIGKILL)
        agents[silent].communicate(timeout=60)
    assert agents[1 - silent].returncode == LOST, err
    assert "gave no sign for 60 s" in err.splitlines()[-1]
