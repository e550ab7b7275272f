"""What a run is made of: steps and lists, its estimate, names of masks, its notes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_set import run_plan, write_recipe
from saliency_graphs import mean_graph
from small_set import TRAIN, make_set, stamps, write_list

from smaf.core.errors import InputError
from smaf.core.images import write_mask
from smaf.data.layout import open_data
from smaf.engine.pipeline import network, thresholds
from smaf.engine.pipeline.estimate import Pace, Part, Progress, check_disk, parts_of, time_of
from smaf.engine.pipeline.lists import ROWS, Lists, lists_of
from smaf.engine.pipeline.masks import mirror, mirrored_names
from smaf.engine.pipeline.notes import Notes
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.pipeline.plan import RunPlan
from smaf.engine.pipeline.rehearsal import _at_once, _few, rehearse
from smaf.engine.pipeline.scope import NETWORK_THRESHOLD, THRESHOLD, Scope
from smaf.engine.pipeline.step import StageStep
from smaf.engine.pipeline.steps import method
from smaf.engine.plans import Compute
from smaf.engine.stages.gen_pm import MaskPlan
from smaf.engine.stages.refine_fusion import RefinementPlan
from smaf.engine.training.loop import LoopSettings


def scope(tmp_path: Path, **values: object) -> Scope:
    data = open_data(make_set(tmp_path / "set"))
    plan = run_plan(write_recipe(tmp_path / "recipe"), **values)
    at = RunPlaces(tmp_path / "run", data.root)
    lists = lists_of(data, plan)
    lists.write(at)
    return Scope(data, plan, lists, at, Notes(at.logdir / "steps.json"))


@pytest.mark.parametrize(
    ("recipe", "photographs", "quick", "steps"),
    [
        (480, 1000, False, 480),
        (480, 10_000, False, 2824),  # 480 · 10,000 / 1,700
        (480, 1000, True, 120),
        (480, 10_000, True, 706),
        (100, 10, True, 40),  # at least 40 …
        (8, 10, True, 8),  # … where the recipe has as many
    ],
)
def test_steps(recipe: int, photographs: int, quick: bool, steps: int) -> None:
    loop = LoopSettings(steps=recipe, batch_size=7, accumulate=2)
    assert RunPlan(quick=quick).steps(loop, photographs) == steps


def test_lists(tmp_path: Path) -> None:
    run = scope(tmp_path)
    assert run.lists == Lists(
        TRAIN, (*TRAIN, "p6", "p7"), TRAIN, ("p6", "p7"), ("p6", "p7", *TRAIN)
    )
    root = run.data.root
    (root / "SegmentationClassAug/p7.png").unlink()
    write_list(root, "val", ["p5", "p6", "p7"])  # p5 is trained on: it judges nothing
    lists = lists_of(open_data(root), run.plan)
    assert lists.scored == ("p6",) and lists.rows[:2] == ("p6", "p7") and len(lists.rows) <= ROWS
    assert lists.segmented[0] == "p6" and set(lists.segmented) == set(lists.rows)
    with pytest.raises(InputError, match=r"list .*nowhere\.txt does not exist"):
        lists_of(open_data(root), run.plan.changed(val_list="nowhere"))
    (root / "ImageSets/Segmentation/val.txt").unlink()
    assert lists_of(open_data(root), run.plan).scored == ()


def test_a_list_that_became_empty_goes(tmp_path: Path) -> None:
    at = RunPlaces(tmp_path / "run", tmp_path)
    Lists(("a", "b"), ("a", "b"), thresholds=("b",)).write(at)
    assert at.list("thresholds").read_text() == "b\n"
    Lists(("a", "b"), ("a", "b"), corrected=("b",)).write(at)  # no threshold is chosen any more
    assert not at.list("thresholds").exists() and at.list("train").read_text() == "a\nb\n"


def test_the_method_and_what_is_left_out(tmp_path: Path) -> None:
    run = scope(tmp_path)
    assert [step.key for step in method(run)] == [
        "saliency",
        "train_eps",
        "gen_fusion",
        "refine_fusion",
        "train_fusion",
        "final_maps",
        "threshold",
        "gen_pm",
        "train_seg",
        "network",
        "test_seg",
        "network_maps",
        "network_threshold",
        "network_masks",
        "scores",
        "masks",
        "report",
    ]
    (tmp_path / "recipe/refine_fusion.args").unlink()
    assert "refine_fusion" not in {step.key for step in method(run)}
    plain = {step.key for step in method(scope(tmp_path / "b", saliency=False))}
    assert not plain & {"saliency", "gen_fusion", "refine_fusion", "train_fusion"}


def test_which_photographs_need_saliency_maps(tmp_path: Path) -> None:
    """All where the last masks weigh them, else those that are trained on."""
    run = scope(tmp_path)
    assert run.salient_ids == run.lists.photographs and run.salient == "photographs"
    assert run.saliency_weight(THRESHOLD) == 0.0 and run.saliency_weight(NETWORK_THRESHOLD) == 0.6
    stage3 = scope(tmp_path / "b", masks_by="classifier")
    assert stage3.plan.saliency_weight == 0.0
    assert stage3.salient == "train" and stage3.salient_ids == stage3.lists.train
    words = (tmp_path / "b/recipe/gen_pm.args").read_text()
    (tmp_path / "b/recipe/gen_pm.args").write_text(f"{words}--saliency_weight 0.4\n")
    assert stage3.saliency_weight(THRESHOLD) == 0.4 and stage3.salient == "photographs"


def test_masks_and_their_thresholds_have_the_recipes_side_of_crf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sides = scope(tmp_path), []

    def noting(*_: object, crf_side: int | None, **__: object) -> list[float]:
        sides.append(crf_side)
        return [0.5 - len(sides) / 10]

    monkeypatch.setattr(thresholds, "mious_after_crf", noting)
    file = tmp_path / "recipe/gen_pm.args"
    file.write_text(f"{file.read_text()}--crf_side 77\n")
    steps = {step.key: step for step in method(run)}
    for key, choose in (
        ("gen_pm", thresholds.of_classifier),
        ("network_masks", thresholds.of_network),
    ):
        step = steps[key]
        assert isinstance(step, StageStep)
        plan = step.plan()
        assert isinstance(plan, MaskPlan) and (plan.crf, plan.crf_side) == ("maps", 77)
        choose(run)._after_crf(run, [], 0.3)
    assert set(sides) == {77} and len(sides) >= 2


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()


def test_what_is_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "can_export", lambda: True)
    run = scope(tmp_path)
    paces = {
        "train_eps": Pace(unit=2.0, fixed=1e6).to_dict(),
        "gen_fusion": Pace(unit=0.5, unit_bytes=1e3).to_dict(),
        "test_seg": Pace(unit=0.25).to_dict(),
    }
    run.at.fused.mkdir()
    (run.at.fused / "p2.npz").touch()  # of a run that was stopped
    parts = {part.key: part for part in parts_of(run, method(run), paces)}
    assert (parts["train_eps"].units, parts["train_eps"].seconds) == (4, 8.0)
    assert (parts["gen_fusion"].units, parts["gen_fusion"].seconds) == (5, 2.5)
    assert (parts["train_eps"].bytes, parts["gen_fusion"].bytes) == (1e6, 5e3)
    assert parts["network"].seconds == 30 + 6 * 0.25 and parts["saliency"].units == 0


def test_time_left_follows_what_passed() -> None:
    progress = Progress({"a": 100.0, "b": 200.0, "c": 700.0})
    assert progress.line() == f"{time_of(1000)} left of {time_of(1000)}"
    progress.took["a"] = 300.0
    progress.passed("a")
    assert progress.factor == pytest.approx((300 + 100) / (100 + 100))
    assert progress.line() == f"{time_of(1800)} left of {time_of(2100)}"
    progress.took["b"] = 600.0
    progress.passed("b")
    assert progress.factor == pytest.approx((900 + 100) / (300 + 100))
    progress.took["c"] = 2100.0
    progress.passed("c")
    assert progress.line() == "0 s left of 50 min"
    assert Progress({"a": 0.0}).line() == "0 s left of 0 s" and Progress({}).line() == ""


def test_disk(tmp_path: Path) -> None:
    parts = [
        Part("a", "a", 1, 0.0, 3e9, tmp_path / "not/there"),
        Part("b", "b", 1, 0, 2e9, tmp_path),
    ]
    assert check_disk(parts, free=lambda _: 10**10) == "5 GB of the 10 GB that are free"
    with pytest.raises(InputError, match=r"needs about 5 GB more .*, where 5\.2 GB are free"):
        check_disk(parts, free=lambda _: 5_200_000_000)  # too little beside it


@pytest.mark.slow
def test_a_rehearsal_measures_between_steps(tmp_path: Path) -> None:
    """With a clock that goes on by 2 s each time; missing maps are made beside the data set."""
    model = mean_graph(tmp_path / "isnet-general-use.onnx", bias=0.5)
    run = scope(tmp_path, model=str(model))
    (run.data.root / "SALImages/p3.png").unlink()
    before, ticks = stamps(run.data.root), itertools.count()
    paces = rehearse(run, clock=lambda: 2.0 * next(ticks))
    assert stamps(run.data.root) == before
    assert not (run.at.logdir / ".rehearsal").exists()
    trained = {"train_eps", "train_fusion", "train_seg"}
    made = {"saliency", "gen_fusion", "refine_fusion", "final_maps", "gen_pm"}
    made |= {"test_seg", "network_maps", "network_masks"}
    assert set(paces) == trained | made
    assert {paces[key].unit for key in trained} == {2.0}
    assert all(paces[key].fixed > 1e6 and not paces[key].unit_bytes for key in trained)
    for key in made:
        assert 0 < paces[key].unit < 60 and 0 < paces[key].unit_bytes < 1e5
        assert not paces[key].fixed


def test_a_rehearsal_works_on_one_photograph_at_once(tmp_path: Path) -> None:
    """Else the gaps between files would not tell what one costs; the run's own way divides it."""
    run, seen = scope(tmp_path), []
    step = StageStep(
        "refine_fusion",
        "",
        lambda _, plan, __: seen.append(plan.num_workers),
        lambda: RefinementPlan(num_workers=0),
        tmp_path,
        ".npz",
        parallel=True,
    )
    step.do(run)
    step.do(replace(run, rehearsed=3))
    assert seen == [0, 1]
    plans = [Compute(num_workers=0, threads=1), Compute(num_workers=0, threads=8)]
    assert [_at_once(plan) for plan in (*plans, Compute(num_workers=1))] == [1, 2, 1]


def test_a_rehearsal_takes_maps_that_say_something(tmp_path: Path) -> None:
    run = scope(tmp_path)
    for image_id in ("p0", "p1", "p2", "p4"):
        path = run.data.root / f"SALImages/{image_id}.png"
        Image.new("L", Image.open(path).size).save(path)
    assert _few(run) == ("p3", "p5")


def test_a_fault_is_found_in_the_rehearsal(tmp_path: Path) -> None:
    run = scope(tmp_path)
    (tmp_path / "recipe/train_eps.args").write_text("--backbone no_such_network --weights none\n")
    with pytest.raises(InputError, match="training the EPS classifier, 3 steps, in a rehearsal: "):
        rehearse(run)
    assert not (run.at.logdir / ".rehearsal").exists()


def test_names_of_masks() -> None:
    one = {
        "x": Path("p/cats/a b.jpg"),
        "y": Path("p/cats/dogs.v1/c.PNG"),
        "z": Path("p/cats/d.jpg"),
    }
    assert mirrored_names(one) == {"x": "a b.png", "y": "dogs.v1/c.png", "z": "d.png"}
    alike = {"a": Path("p/a.jpg"), "b": Path("p/A.png"), "c": Path("p/q/a.jpg")}
    assert mirrored_names(alike) == {"a": "a.jpg.png", "b": "A.png.png", "c": "q/a.png"}


def test_masks_are_copied_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    run = scope(tmp_path)
    for image_id in run.lists.photographs:
        write_mask(run.at.masks / f"{image_id}.png", np.full((4, 5), 2, dtype=np.uint8))
    monkeypatch.setattr("os.link", refuse)
    assert mirror(run)["files"] == sorted(f"{image_id}.png" for image_id in run.lists.photographs)
    copy, mask = run.at.mirrored / "p3.png", run.at.masks / "p3.png"
    assert copy.read_bytes() == mask.read_bytes() and not copy.samefile(mask)


def test_notes(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "steps.json")
    notes.keep("threshold", "sha256:a", {"threshold": 0.3})
    notes.took("threshold", 1.25)
    notes.took("threshold", 2.0)
    notes.keep_paces("x", {"a": {"unit": 1.0}})
    again = Notes(tmp_path / "steps.json")
    assert again.result("threshold") == {"threshold": 0.3} and again.result("scores") == {}
    assert again.made_of("threshold") == "sha256:a" and again.seconds == {"threshold": 3.25}
    assert again.paces("x") == {"a": {"unit": 1.0}} and again.paces("y") == {}
    (tmp_path / "steps.json").write_text("[1]")
    with pytest.raises(InputError, match="are not those of a run"):
        Notes(tmp_path / "steps.json")
