"""Plans: what decides a result, recipes, one reading of a checkpoint, commands and Python alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small_set import NETWORK, SGD, good, run, stage0, stage1, stage2, stage3

from smaf import gen_fusion, train_seg
from smaf.commands import Commands
from smaf.core.errors import InputError
from smaf.core.options import Role
from smaf.core.views import Views
from smaf.data.layout import open_data
from smaf.engine.outputs import settings_of
from smaf.engine.stages.gen_fusion import FusionPlan
from smaf.engine.stages.gen_fusion import gen_fusion as fuse
from smaf.engine.stages.train_eps import EpsPlan


def settings(folder: Path) -> dict[str, Any]:
    entry = json.loads((folder / "run.json").read_text())[-1]
    return {**entry["settings"], "free": entry["free"]}


def test_a_plan_is_changed_by_the_names_of_options_and_fields() -> None:
    plan = EpsPlan().changed(list="train", steps=3, lr=0.5, jitter=False)
    assert (plan.list_name, plan.loop.steps, plan.loop.optim.lr) == ("train", 3, 0.5)
    assert plan.crops.augmentation().jitter is None and EpsPlan().crops.jitter
    assert FusionPlan().changed(max_view_pixels=9).views == Views(max_pixels=9)
    with pytest.raises(InputError, match=r"EpsPlan has no option step \(did you mean 'steps'\?\)"):
        EpsPlan().changed(step=3)
    with pytest.raises(InputError, match="--steps 0: expected more than 0"):
        EpsPlan.of("light", steps=0)
    with pytest.raises(InputError, match="--recipe ligth: expected one of light"):
        EpsPlan.of("ligth")


def test_a_recipe_is_the_same_from_python_and_the_command_line() -> None:
    words = ["--recipe", "light", "--steps", "7"]
    plan = gen_fusion.COMMAND.read(words[:2]).plan
    assert (
        plan.views
        == FusionPlan.of("light").views
        == Views((0.5, 1.0, 1.5), True, 384, 2_000_000, "logits")
    )
    assert EpsPlan.of("light").loop.steps == 480 and EpsPlan.of("light", steps=7).loop.steps == 7


def test_roles_say_what_a_record_compares(small: Path, classifier: Path) -> None:
    plan = FusionPlan(list_name="all", weights=classifier)
    recorded = settings_of(open_data(small), plan)
    roles = {declared.name: declared.about.role for declared in plan.options()}
    assert recorded.free == {name for name, role in roles.items() if role is Role.RUN}
    assert recorded.free == {"recipe", "device", "num_workers", "threads"}
    assert str(recorded.values["weights"]).startswith("sha256:") and "list" not in recorded.values
    assert recorded.values["flip"] is True and recorded.values["contents of --list"]


def test_python_and_the_command_make_one_run(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    good(stage1(small, classifier, tmp_path / "cams", "--num_workers", 0))
    plan = FusionPlan(list_name="all", weights=classifier).changed(scales=(0.5, 1.0), device="cpu")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cams").glob("*.npz")}
    assert fuse(open_data(small), plan, tmp_path / "cams") == tmp_path / "cams"
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) == 8


def test_the_recipe_is_recorded_and_does_not_decide(
    small: Path, classifier: Path, tmp_path: Path
) -> None:
    light = ("--recipe", "light", "--scales", 0.5, 1.0, "--label_filter", "maps", "--flip")
    run_light = run(
        gen_fusion.main, "--data_root", small, "--list", "all", "--weights", classifier,
        "--out", tmp_path, *light, "--long_side", 60, "--device", "cpu",
    )  # fmt: skip
    good(run_light)
    recorded = settings(tmp_path)
    assert recorded["recipe"] == "light" and "recipe" in recorded["free"]
    done = good(stage1(small, classifier, tmp_path, "--long_side", 60))
    assert "8 of 8 images are done" in done.lines[0]


def test_a_folder_of_version_0_4_is_compared(small: Path, classifier: Path, tmp_path: Path) -> None:
    good(stage1(small, classifier, tmp_path))
    path = tmp_path / "run.json"
    entries = json.loads(path.read_text())
    entries[-1]["settings"]["no_flip"] = not entries[-1]["settings"].pop("flip")
    del entries[-1]["free"]
    path.write_text(json.dumps(entries))
    assert "8 of 8 images are done" in good(stage1(small, classifier, tmp_path)).lines[0]
    done = stage1(small, classifier, tmp_path, "--no_flip")
    assert done.status == 2 and "flip was True, is False" in done.lines[0]


def test_each_stage_opens_a_checkpoint_once(
    small: Path, classifier: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    load = torch.load

    def counting(file: Any, *rest: Any, **named: Any) -> Any:
        opened.append(file)
        return load(file, *rest, **named)

    monkeypatch.setattr(torch, "load", counting)
    training = ("--steps", 1, *SGD)
    stages = {
        "train_eps": lambda: stage0(small, tmp_path / "0", *training, "--weights", classifier),
        "gen_fusion": lambda: stage1(small, classifier, tmp_path / "1"),
        "train_fusion": lambda: stage2(small, classifier, cams, tmp_path / "2", *training),
        "gen_pm": lambda: stage3(small, tmp_path / "3", "--weights", classifier),
        "train_seg": lambda: run(
            train_seg.main,
            "--data_root",
            small,
            "--list",
            "train",
            "--target_dir",
            tmp_path / "3",
            "--network",
            NETWORK[1],
            "--weights",
            classifier,
            "--out",
            tmp_path / "4",
            *training,
            "--crop",
            64,
            "--resize_long",
            48,
            72,
            "--batch_size",
            2,
            "--num_workers",
            0,
            "--device",
            "cpu",
        ),
    }
    for name, stage in stages.items():
        opened.clear()
        good(stage())
        assert len(opened) == 1, name


def test_commands_get_the_shared_options_that_they_have(tmp_path: Path) -> None:
    commands = Commands(recipe="light", data_root="set", device="cpu", overwrite=None)
    assert commands.words("refine_fusion", list="train", crf=False) == [
        "--recipe", "light", "--data_root", "set", "--list", "train", "--no_crf",
    ]  # fmt: skip
    assert commands.words("evaluate", sweep=True)[-1] == "--sweep"
    assert "--device" in commands.words("gen_pm")


def test_crf_is_turned_on_and_off_alike_in_every_command() -> None:
    from smaf import gen_pm, refine_fusion, test_seg

    def crf(command: Any, *words: str) -> object:
        return command.COMMAND.read(list(words)).plan.crf

    assert [
        crf(gen_pm, *w) for w in ((), ("--crf",), ("--crf", "maps"), ("--crf", "--no_crf"))
    ] == ["none", "masks", "maps", "none"]
    assert [crf(test_seg, *w) for w in ((), ("--crf",), ("--crf", "--no_crf"))] == [
        False,
        True,
        False,
    ]
    assert crf(refine_fusion) and not crf(refine_fusion, "--no_crf", "--saliency_weight", "1")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": "60"}, "--steps '60': expected a whole number"),
        ({"steps": 2.5}, "--steps 2.5: expected a whole number"),
        ({"lr": "fast"}, "--lr 'fast': expected a number"),
        ({"jitter": "no"}, "--jitter 'no': expected True or False"),
        ({"steps": True}, "--steps True: expected a whole number"),
        ({"resize_long": (9, 3)}, "--resize_long 9 3: expected the smaller length first"),
        ({"resize_long": None}, "crops need --resize_long or --scale"),
    ],
)
def test_values_from_python_are_checked_as_those_of_a_command(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        EpsPlan().changed(**values)


def test_what_has_no_say_is_no_setting(small: Path, classifier: Path, cams: Path) -> None:
    """Weights beside the maps of a folder, and targets beside true masks."""
    from smaf.engine.stages.gen_pm import MaskPlan
    from smaf.engine.stages.train_seg import SegmentationPlan

    data = open_data(small)
    both = MaskPlan(list_name="all", weights=classifier, cam_dir=cams)
    assert settings_of(data, both) == settings_of(data, MaskPlan(list_name="all", cam_dir=cams))
    assert SegmentationPlan(true_masks=True, target_dir=cams).target_dir is None
    with pytest.raises(InputError, match="weights student: only a command knows"):
        SegmentationPlan.of("light").build(data)
