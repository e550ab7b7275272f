"""The bash wrappers: which commands they run, seen by a stand-in for Python that writes down its
arguments."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def commands(tmp_path: Path, script: str, *options: str, **settings: str) -> list[list[str]]:
    """The arguments of each command that the wrapper runs."""
    stand_in, seen = tmp_path / "python", tmp_path / "seen"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\t" "$@" >> {seen}\necho >> {seen}\n')
    stand_in.chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    subprocess.run(
        ["bash", str(ROOT / "script" / script), *options],
        check=True,
        timeout=60,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env={**plain, "PYTHON": str(stand_in), **settings},
    )
    return [line.rstrip("\t").split("\t") for line in seen.read_text().splitlines()]


def value(command: list[str], name: str) -> str:
    """What a command takes an option for: as given, else the default that Python fills in."""
    stage, words = command[1].removeprefix("smaf."), command[2:]
    if stage == "launch":
        stage, words = command[3], command[4:]
    if stage == "evaluate":
        return words[len(words) - words[::-1].index(name)]
    job = importlib.import_module(f"smaf.{stage}").COMMAND.read(words)
    values = {**job.data.values(), **job.plan.values(), **job.options.values()}
    values["out"] = job.output.folder
    return str(values[name.removeprefix("--")])


def test_defaults_are_the_published_layout(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "train_eps.sh")
    assert command[:2] == ["-m", "smaf.train_eps"] and value(command, "--backbone") == "resnet38"
    assert value(command, "--data_root") == str(ROOT / "dataset/VOC2012")
    assert value(command, "--out") == str(ROOT / "smaf/logdir/eps_cls_mode")
    assert not any(word.startswith("@") for word in command)


def test_settings_from_the_environment_and_options_after_them(tmp_path: Path) -> None:
    settings = {
        "DATA_ROOT": "my set",
        "LOGDIR": "logs",
        "BACKBONE": "tf_efficientnet_lite0",
        "DEVICE": "cpu",
        "CLASSES": "some.txt",
        "LIST": "mine",
    }
    (command,) = commands(tmp_path, "train_fusion.sh", "--steps", "7", **settings)
    assert command[2:4] == ["--recipe", "light"] and command[-2:] == ["--steps", "7"]
    assert [
        value(command, f"--{name}")
        for name in ("data_root", "device", "classes", "list", "cam_dir", "out")
    ] == ["my set", "cpu", "some.txt", "mine", "logs/cam_refined", "logs/proda_model"]


def test_the_light_recipe_refines_between_stages_1_and_2(tmp_path: Path) -> None:
    (command,) = commands(
        tmp_path, "refine_fusion.sh", BACKBONE="tf_efficientnet_lite0", LOGDIR="logs", NPROC="4"
    )
    assert command[:6] == ["-m", "smaf.launch", "4", "refine_fusion", "--recipe", "light"]
    assert [value(command, f"--{name}") for name in ("cam_dir", "out")] == [
        "logs/cam_o_vec",
        "logs/cam_refined",
    ]
    assert "--device" not in command
    for settings, maps in (
        ({}, "logs/cam_o_vec"),
        ({"CAM_DIR": "m"}, "m"),
    ):  # the published recipe does not
        assert (
            value(commands(tmp_path, "train_fusion.sh", LOGDIR="logs", **settings)[-1], "--cam_dir")
            == maps
        )


def test_saliency_maps_lie_in_the_data_set_by_default(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "saliency.sh", DATA_ROOT="d", LIST="mine", DEVICE="cuda")
    assert command[:2] == ["-m", "smaf.saliency"] and "--device" not in command
    assert [value(command, f"--{name}") for name in ("list", "model", "preset", "out")] == [
        "mine",
        "saliency_lite0",
        "None",
        "d/SALImages",
    ]
    (command,) = commands(
        tmp_path, "saliency.sh", MODEL="u2net", PRESET="isnet", OUT="o", NPROC="2"
    )[1:]
    assert command[:4] == ["-m", "smaf.launch", "2", "saliency"]
    assert [value(command, f"--{name}") for name in ("model", "preset", "out")] == [
        "u2net",
        "isnet",
        "o",
    ]


def test_many_processes_go_through_the_launcher(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "gen_fusion.sh", NPROC="4")
    assert command[:4] == ["-m", "smaf.launch", "4", "gen_fusion"]
    options = "--nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint host:29500"
    (command,) = commands(tmp_path, "train_eps.sh", TORCHRUN=options, NPROC="1", LIST="mine")[1:]
    assert command[:4] == ["-m", "smaf.launch", options, "train_eps"]
    assert value(command, "--list") == "mine"


def test_one_of_two_ways_to_start_many_processes(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        commands(tmp_path, "gen_pm.sh", NPROC="2", TORCHRUN="--nnodes 2")
    said = refused.value.stderr.decode()
    assert refused.value.returncode == 2 and not (tmp_path / "seen").exists()
    assert (
        said.startswith("error: NPROC is 2 and TORCHRUN is --nnodes 2: ") and said.count("\n") == 1
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--list", "val", "--data_root", "d", "--classes", "c", "--out", "o", "--crf"),
        ("--list=val", "--data_root=d", "--classes=c", "--out=o", "--crf"),
    ],
)
def test_pseudo_masks_are_evaluated_with_the_options_that_made_them(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (made,) = commands(tmp_path, "gen_pm.sh", *options)
    assert made[1] == "smaf.gen_pm" and "--crf" in made and made[-len(options) :] == list(options)
    assert value(made, "--evaluate") == "True"
    assert [value(made, f"--{name}") for name in ("list", "data_root", "classes", "out")] == [
        "val",
        "d",
        "c",
        "o",
    ]


def test_pseudo_masks_lie_in_the_data_set_by_default(tmp_path: Path) -> None:
    (made,) = commands(tmp_path, "gen_pm.sh", DATA_ROOT="d")
    assert value(made, "--out") == "d/pseudo_mask/fused"
    assert value(commands(tmp_path, "gen_pm.sh", EVALUATE="0")[-1], "--evaluate") == "False"


def test_stage_4_starts_from_the_students_weights_in_the_light_recipe(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "train_seg.sh", LOGDIR="logs", DATA_ROOT="set", NPROC="2")
    assert [
        value(command, f"--{name}") for name in ("network", "weights", "target_dir", "out")
    ] == ["deeplab_v2_resnet101", "imagenet", "set/pseudo_mask/fused", "logs/segmenter"]
    assert command[:3] == ["-m", "smaf.launch", "2"]
    command = commands(tmp_path, "train_seg.sh", LOGDIR="logs", BACKBONE="tf_efficientnet_lite0")[
        -1
    ]
    assert command[2:4] == ["--recipe", "light"]
    assert [value(command, f"--{name}") for name in ("network", "weights")] == [
        "tf_efficientnet_lite0",
        "logs/proda_model/classifier.pth",
    ]
    command = commands(
        tmp_path, "test_seg.sh", "--crf", LOGDIR="logs", LIST="a/mine.txt", NPROC="2"
    )[-1]
    assert command[:4] == ["-m", "smaf.launch", "2", "test_seg"] and command[-1] == "--crf"
    assert [value(command, f"--{name}") for name in ("weights", "out")] == [
        "logs/segmenter/segmenter.pth",
        "logs/segmented_mine",
    ]


def test_the_whole_protocol_says_what_is_missing_before_it_starts(tmp_path: Path) -> None:
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DATA_ROOT": str(tmp_path / "VOC2012"),
        "DEVICE": "cpu",
        "LOGDIR": str(tmp_path / "logs"),
        "PYTHON": "false",
    }
    done = subprocess.run(
        ["bash", str(ROOT / "script/reproduce_voc12.sh")],
        env=settings,
        cwd=tmp_path,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "logs").exists()
    for name in (
        "JPEGImages",
        "train_aug.txt",
        "SegmentationClassAug",
        "SALImages",
        "ilsvrc-cls_rna-a1_cls1000_ep-0001.params",
        "deeplabv1_resnet101-coco.pth",
    ):
        assert re.search(rf"^missing: .*{re.escape(name)}", done.stderr, flags=re.MULTILINE), name
    assert done.stderr.splitlines()[-1].startswith("error: nothing was started")


def test_the_whole_protocol_runs_every_stage(tmp_path: Path) -> None:
    data = tmp_path / "VOC2012"
    for folder in (
        "JPEGImages",
        "SegmentationClassAug",
        "SALImages",
        "ImageSets/Segmentation",
        "weights",
    ):
        (data / folder).mkdir(parents=True)
    for name in ("train_aug", "train", "val"):
        (data / f"ImageSets/Segmentation/{name}.txt").write_text(
            "".join(f"{name}{k}\n" for k in range(6))
        )
    for name in (
        "labels.csv",
        "weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.params",
        "weights/deeplabv1_resnet101-coco.pth",
    ):
        (data / name).write_text("")
    ran = commands(
        tmp_path,
        "reproduce_voc12.sh",
        DATA_ROOT=str(data),
        LOGDIR=str(tmp_path / "logs"),
        DEVICE="cpu",
        QUICK="1",
    )
    ran = [command for command in ran if command[0] == "-m"]  # the others ask what Python has
    assert [command[1] for command in ran] == [
        f"smaf.{stage}"
        for stage in (
            "train_eps",
            "gen_fusion",
            "train_fusion",
            "gen_pm",
            "gen_pm",
            "evaluate",
            "train_seg",
            "test_seg",
        )
    ]
    logs = tmp_path / "logs/quick"
    assert (logs / "train_aug.txt").read_text().split() == [f"train_aug{k}" for k in range(4)]
    assert value(ran[0], "--weights").endswith(".params") and value(ran[6], "--weights").endswith(
        "coco.pth"
    )
    assert (
        value(ran[6], "--target_dir")
        == value(ran[4], "--out")
        == str(logs / "pseudo_masks/train_aug")
    )
    assert value(ran[4], "--list") == value(ran[0], "--list") == str(logs / "train_aug.txt")
