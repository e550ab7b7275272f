"""Options out of range, devices that are not there, folders that cannot be written, disks that are
full."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_set import ADAMW, PICTURES, Done, good, make_set, run, stage0, stage1, stage2, stage3

from smaf import evaluate, train_fusion
from smaf.core import files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set, a classifier, its maps and masks; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("made")
    make_set(folder / "set")
    good(stage0(folder / "set", folder / "eps", "--steps", 2, *ADAMW))
    good(stage1(folder / "set", folder / "eps/classifier.pth", folder / "cams"))
    good(stage3(folder / "set", folder / "pred", "--cam_dir", folder / "cams"))
    return folder


def command(made: Path, name: str, out: Path, *extra: object) -> Done:
    """Run a command on `made` with its output in `out`."""
    root, weights, cams = made / "set", made / "eps/classifier.pth", made / "cams"
    if name == "train_eps":
        return stage0(root, out, "--steps", 2, *extra)
    if name == "gen_fusion":
        return stage1(root, weights, out, *extra)
    if name == "train_fusion":
        return stage2(root, weights, cams, out, "--steps", 2, *extra)
    if name == "gen_pm":
        return stage3(root, out, "--cam_dir", cams, *extra)
    return run(
        evaluate.main,
        "--data_root",
        root,
        "--list",
        "all",
        "--pred_dir",
        made / "pred",
        "--out",
        out / "result.json",
        *extra,
    )


COMMANDS = ("train_eps", "gen_fusion", "train_fusion", "gen_pm", "evaluate")
OPTIONS = [
    ("train_eps", "--steps -5", "--steps -5: expected more than 0"),
    ("train_eps", "--batch_size 0", "--batch_size 0: expected more than 0"),
    ("train_eps", "--accumulate 0", "--accumulate 0: expected more than 0"),
    ("train_eps", "--lr 0", "--lr 0.0: expected more than 0"),
    ("train_eps", "--lr nan", "--lr nan: expected more than 0"),
    ("train_eps", "--momentum nan", "--momentum nan: expected 0 or more"),
    ("train_eps", "--weight_decay -1", "--weight_decay -1.0: expected 0 or more"),
    (
        "train_eps",
        "--resize_long 300 200",
        "--resize_long 300 200: expected the smaller length first",
    ),
    ("train_eps", "--resize_long 0 200", "--resize_long 0 200: expected more than 0"),
    ("train_eps", "--crop 4", "--crop 4: expected at least 8 pixels"),
    ("train_eps", "--seed -1", "--seed -1: expected 0 or more"),
    ("train_eps", "--tau 2", "--tau 2.0: expected a value from 0 to 1"),
    ("train_eps", "--lam -0.5", "--lam -0.5: expected a value from 0 to 1"),
    ("train_eps", "--num_workers -1", "--num_workers -1: expected 0 or more"),
    (
        "train_eps",
        "--steps many",
        "argument --steps: invalid int value: 'many' (see smaf train_eps --help)",
    ),
    ("train_eps", "--warmup 2", "--warmup 2.0: expected a value from 0 to 1"),
    ("train_eps", "--pool median", "argument --pool: invalid choice: 'median'"),
    ("train_eps", "--output_stride 12", "argument --output_stride: invalid choice: 12"),
    ("train_eps", "--optimiser lion", "argument --optimiser: invalid choice: 'lion'"),
    (
        "train_eps",
        "--backbone resnet_fifty",
        "--backbone resnet_fifty: neither resnet38 nor a timm model",
    ),
    ("train_eps", "--weights nowhere.pth", "weights nowhere.pth does not exist"),
    (
        "train_eps",
        "--list nolist",
        "ImageSets/Segmentation/nolist.txt does not exist: name another with --list",
    ),
    ("train_eps", "--labels none.csv", "image-label file none.csv does not exist"),
    ("train_eps", "--class_names none.txt", "class-name file none.txt does not exist"),
    ("gen_fusion", "--scales 1 0", "--scales 1.0 0.0: expected more than 0"),
    ("gen_fusion", "--long_side -3", "--long_side -3: expected more than 0"),
    ("gen_fusion", "--max_view_pixels 0", "--max_view_pixels 0: expected more than 0"),
    ("train_fusion", "--ema_decay 1.5", "--ema_decay 1.5: expected a value from 0 to 1"),
    ("train_fusion", "--background 1", "--background 1.0: expected a value between 0 and 1"),
    ("train_fusion", "--loss_weight -1", "--loss_weight -1.0: expected more than 0"),
    ("gen_pm", "--threshold 1.5", "--threshold 1.5: expected a value between 0 and 1"),
    ("evaluate", "--threshold 0", "--threshold 0.0: expected a value between 0 and 1"),
    ("evaluate", "--num_workers -1", "--num_workers -1: expected 0 or more"),
    ("evaluate", "--list nolist", "nolist.txt does not exist: name another with --list"),
]


@pytest.mark.parametrize(
    ("name", "option", "message"), OPTIONS, ids=[f"{o[0]}{o[1]}" for o in OPTIONS]
)
def test_option_out_of_range(
    name: str, option: str, message: str, made: Path, tmp_path: Path
) -> None:
    done = command(made, name, tmp_path / "out", *option.split())
    assert done.status == 2 and len(done.lines) == 1, done.err
    assert done.lines[0].startswith("error: ") and message in done.lines[0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_class_file(made: Path, tmp_path: Path) -> None:
    (tmp_path / "unknown.txt").write_text("ball\ncastle\n")
    (tmp_path / "twice.txt").write_text("ball\nball\n")
    (tmp_path / "ball.txt").write_text("ball\n")
    (tmp_path / "few.txt").write_text("p1\np2\np4\n")
    for name, words in (
        ("unknown", "unknown.txt: unknown class names castle: the data set has ball, box, tent"),
        ("twice", "twice.txt has the names ball twice"),
        ("ball", "labels.csv: p1 and 2 more of the list show none of the classes ball: name a"),
    ):
        files = ("--classes", tmp_path / f"{name}.txt", "--list", tmp_path / "few.txt")
        done = command(made, "train_eps", tmp_path / "out", *files)
        assert done.status == 2 and len(done.lines) == 1 and words in done.lines[0], done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("device", "there"),
    [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())],
)
@pytest.mark.parametrize("name", COMMANDS[:4])
def test_device_that_is_not_there(
    device: str, there: bool, name: str, made: Path, tmp_path: Path
) -> None:
    if there:
        pytest.skip(f"{device} is there")
    done = command(made, name, tmp_path / "out", "--device", device)
    assert done.status == 2 and not (tmp_path / "out").exists()
    assert done.lines == [
        f"error: --device {device}: PyTorch finds no {device.upper()} device here: use --device "
        "auto or --device cpu"
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_output_folder_below_a_file(name: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = command(made, name, tmp_path / "file/sub")
    assert done.status == 2 and len(done.lines) == 1, done.err
    assert done.lines[0].startswith(
        f"error: output folder {tmp_path}/file/sub is not writable (Not a directory)"
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_output_of_the_evaluation_is_a_folder(made: Path, tmp_path: Path) -> None:
    done = command(made, "evaluate", tmp_path, "--out", tmp_path)
    assert done.status == 2 and done.lines == [
        f"error: --out {tmp_path} is a folder: name a JSON file in it"
    ]


TARGETS = [
    ("train_eps", "checkpoint.pth"),
    ("train_eps", "classifier.pth"),
    ("train_eps", "run.json"),
    ("gen_fusion", "p5.npz"),
    ("train_fusion", "prototypes_eps.npz"),
    ("train_fusion", "classifier_ema.pth"),
    ("gen_pm", "p5.png"),
    ("gen_pm", "classes.txt"),
    ("evaluate", "result.json"),
]


@pytest.mark.parametrize(("name", "target"), TARGETS)
def test_disk_that_fills_up(
    name: str, target: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace
    extra = ("--ema", "--rectify", "cosine") if name == "train_fusion" else ()

    def full(source: Path, path: Path) -> None:
        if path.name == target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, path)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        done = command(made, name, tmp_path / "out", *extra)
    assert done.status == 2 and not (tmp_path / "out" / target).exists()
    assert done.lines[-1] == (
        f"error: {tmp_path}/out/{target}: the disk is full: make room and run the same command "
        "again, it goes on where it stopped"
    )
    assert not list(tmp_path.rglob("*.part"))
    good(command(made, name, tmp_path / "out", *extra))
    assert (tmp_path / "out" / target).is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=64k", "none", str(folder)],
            check=False,
            capture_output=True,
        ).returncode
    ):
        pytest.skip("mounting is not permitted")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("name", "results"),
    [("train_eps", ["classifier.pth"]), ("gen_fusion", [f"{i}.npz" for i in PICTURES])],
)
def test_real_disk_that_fills_up(
    name: str, results: list[str], made: Path, small_disk: Path
) -> None:
    if name == "gen_fusion":
        (small_disk / "ballast").write_bytes(bytes(48 * 1024))
    done = command(made, name, small_disk / "out")
    assert done.status == 2 and "Traceback" not in done.err, done.err
    assert len(done.lines) == 1 and done.lines[0].startswith(f"error: {small_disk}/out/"), done.err
    assert ": the disk is full: make room" in done.lines[0]
    assert not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    good(command(made, name, small_disk / "out"))
    assert all((small_disk / "out" / result).is_file() for result in results)


def test_plain_files_of_the_wrong_kind(made: Path, tmp_path: Path) -> None:
    """A folder for a list, weights or label file is said to be missing, not read."""
    (tmp_path / "folder.txt").mkdir()
    for option in ("--list", "--class_names", "--classes"):
        done = command(made, "train_eps", tmp_path / "out", option, tmp_path / "folder.txt")
        assert done.status == 2 and f"{tmp_path}/folder.txt does not exist" in done.lines[0]
    done = run(train_fusion.main, "--data_root", made / "set", "--weights", tmp_path / "folder.txt")
    assert done.status == 2 and f"weights {tmp_path}/folder.txt does not exist" in done.lines[0]
