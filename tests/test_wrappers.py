"""The bash wrappers: which commands they run, seen by a stand-in for Python that writes down its arguments."""

from __future__ import annotations

import os
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
    subprocess.run(["bash", str(ROOT / "script" / script), *options], check=True, timeout=60, cwd=tmp_path,
                   env={**plain, "PYTHON": str(stand_in), **settings})
    return [line.rstrip("\t").split("\t") for line in seen.read_text().splitlines()]


def value(command: list[str], name: str) -> str:
    """The value of an option: the last one wins, as argparse has it."""
    return command[len(command) - command[::-1].index(name)]


def test_defaults_are_the_published_layout(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "train_eps.sh")
    assert command[:2] == ["-m", "smaf.train_eps"] and value(command, "--backbone") == "resnet38"
    assert value(command, "--data_root") == str(ROOT / "dataset/VOC2012")
    assert value(command, "--out") == str(ROOT / "smaf/logdir/eps_cls_mode")
    assert not any(word.startswith("@") for word in command)


def test_settings_from_the_environment_and_options_after_them(tmp_path: Path) -> None:
    settings = {"DATA_ROOT": "my set", "LOGDIR": "logs", "BACKBONE": "tf_efficientnet_lite0", "DEVICE": "cpu",
                "CLASSES": "some.txt", "LIST": "mine"}
    (command,) = commands(tmp_path, "train_fusion.sh", "--steps", "7", **settings)
    assert command[2] == f"@{ROOT}/script/recipes/light/train_fusion.args" and command[-2:] == ["--steps", "7"]
    assert [value(command, f"--{name}") for name in ("data_root", "device", "classes", "list", "cam_dir", "out")] == [
        "my set", "cpu", "some.txt", "mine", "logs/cam_refined", "logs/proda_model"]


def test_the_light_recipe_refines_between_stages_1_and_2(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "refine_fusion.sh", BACKBONE="tf_efficientnet_lite0", LOGDIR="logs", NPROC="4")
    assert command[:3] == ["-m", "smaf.refine_fusion", f"@{ROOT}/script/recipes/light/refine_fusion.args"]
    assert [value(command, f"--{name}") for name in ("cam_dir", "out")] == ["logs/cam_o_vec", "logs/cam_refined"]
    assert "--device" not in command
    for settings, maps in (({}, "logs/cam_o_vec"), ({"CAM_DIR": "m"}, "m")):  # the published recipe does not
        assert value(commands(tmp_path, "train_fusion.sh", LOGDIR="logs", **settings)[-1], "--cam_dir") == maps


def test_many_processes_go_through_torchrun(tmp_path: Path) -> None:
    (command,) = commands(tmp_path, "gen_fusion.sh", NPROC="4")
    assert command[:6] == ["-m", "torch.distributed.run", "--nproc_per_node", "4", "-m", "smaf.gen_fusion"]


@pytest.mark.parametrize("options", [
    ("--list", "val", "--data_root", "d", "--classes", "c", "--out", "o", "--crf"),
    ("--list=val", "--data_root=d", "--classes=c", "--out=o", "--crf"),
])
def test_pseudo_masks_are_evaluated_with_the_options_that_made_them(tmp_path: Path, options: tuple[str, ...]) -> None:
    made, evaluated = commands(tmp_path, "gen_pm.sh", *options)
    assert made[1] == "smaf.gen_pm" and "--crf" in made and made[-len(options):] == list(options)
    assert evaluated[1] == "smaf.evaluate" and "--crf" not in evaluated and "--device" not in evaluated
    assert [value(evaluated, f"--{name}") for name in ("list", "data_root", "classes", "pred_dir")] == [
        "val", "d", "c", "o"]


def test_pseudo_masks_lie_in_the_data_set_by_default(tmp_path: Path) -> None:
    made, evaluated = commands(tmp_path, "gen_pm.sh", DATA_ROOT="d")
    assert value(made, "--out") == value(evaluated, "--pred_dir") == "d/pseudo_mask/fused"
    assert len(commands(tmp_path, "gen_pm.sh", EVALUATE="0")) == 3  # two of before, and gen_pm alone
