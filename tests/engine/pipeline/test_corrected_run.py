"""Whole runs that take corrected masks: what is made again, what stays, what judges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_set import run_plan, without_rehearsal_and_export, write_recipe
from small_set import good, make_set, run, stamps

from smaf import run as command
from smaf.core.errors import InputError
from smaf.core.images import read_mask, write_mask
from smaf.data.layout import open_data
from smaf.engine.pipeline import RunPlaces, run_all
from smaf.engine.pipeline.notes import Notes

LEARNED = (
    "proda_model",
    "cam_student",
    "pseudo_mask",
    "segmenter",
    "segmented",
    "cam_network",
    "network_mask",
)
STAY = ("eps_cls_mode", "cam_o_vec", "cam_refined")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe."""
    return write_recipe(tmp_path_factory.mktemp("recipes") / "tiny")


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    without_rehearsal_and_export(monkeypatch)


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPlaces:
    """A finished run without corrections; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        without_rehearsal_and_export(patch)
        return run_all(open_data(make_set(folder / "set")), run_plan(recipe), folder / "run")


def correct(root: Path, image_id: str, value: int) -> None:
    """Write a corrected mask: a class at the left, ignored at the right."""
    mask = np.zeros(open_data(root).photo_size(image_id)[::-1], np.uint8)
    mask[:, :30], mask[:, 50:] = value, 255
    write_mask(root / "CorrectedMasks" / f"{image_id}.png", mask)


def record(at: RunPlaces) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((at.logdir / "run.json").read_text())[-1]
    return entry


def masks(at: RunPlaces) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in at.mirrored.glob("*.png")}


def of(at: RunPlaces, names: tuple[str, ...]) -> list[dict[str, tuple[int, int]]]:
    return [stamps(at.logdir / name) for name in names]


@pytest.mark.slow
def test_corrections_of_a_finished_run(
    finished: RunPlaces, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stages 0 and 1 stay; the rest is as in a run that had the corrections from the start."""
    root, out = tmp_path / "set", tmp_path / "run"
    shutil.copytree(finished.data_root, root)
    shutil.copytree(finished.logdir, out)
    at, data = RunPlaces(out, root), open_data(root)
    correct(root, "p0", 1)
    correct(root, "p6", 1)  # of the validation list
    first = of(at, STAY)
    words = (root, "--out", out, "--recipe", recipe, "--device", "cpu", "--num_workers", 0)
    words = (*words, "--masks_by", "network")
    lines = good(run(command.main, *words, "--corrected")).lines
    assert lines[:2] == [
        "2 of 8 photographs have corrected masks",
        f"{out}: corrected masks changed: all from train_fusion on is made again",
    ]
    assert "masks/ has 2 corrected masks as they are" in lines
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "2 photographs have masks that people corrected: stages 2 and 4 learned 1 of" in page
    assert '"title": "corrected"' in page
    assert of(at, STAY) == first
    entry = record(at)
    about = entry["data_set"]
    assert (about["corrected_masks"], about["corrected_masks_trained_on"]) == (2, 1)
    assert about["true_masks_for_thresholds"] == 5  # without p0, whose mask was learned
    for image_id in ("p0", "p6"):
        mask = read_mask(at.mirrored / f"{image_id}.png")
        np.testing.assert_array_equal(mask, data.corrected(image_id))
        assert set(np.unique(read_mask(at.masks / f"{image_id}.png")).tolist()) <= {0, 1}
    trained = [
        json.loads((at.logdir / f"{name}/run.json").read_text())[-1]["settings"]
        for name in ("proda_model", "segmenter")
    ]
    assert trained[0]["contents of --corrected"] == trained[1]["contents of --corrected"]

    fresh = run_all(data, run_plan(recipe, corrected=True), tmp_path / "fresh")
    assert masks(fresh) == masks(at) and record(fresh)["scores"] == entry["scores"]
    assert fresh.student.read_bytes() == at.student.read_bytes()
    assert fresh.student.read_bytes() != finished.student.read_bytes()

    before = stamps(out)
    assert good(run(command.main, *words, "--corrected")).lines == [
        "2 of 8 photographs have corrected masks",
        f"{out}: all is done; --overwrite starts afresh",
    ]
    assert stamps(out) == before
    with pytest.raises(InputError, match=r"run was made with corrected masks: add --corrected, or"):
        run_all(data, run_plan(recipe), out)

    correct(root, "p6", 2)  # it teaches nothing
    learned = of(at, LEARNED)
    run_all(data, run_plan(recipe, corrected=True), out)
    assert of(at, (*STAY, *LEARNED)) == [*first, *learned]
    assert (read_mask(at.mirrored / "p6.png") == data.corrected("p6")).all()
    assert record(at)["scores"] == entry["scores"]
    assert (out / "report.html").read_text(encoding="utf-8") != page  # its gallery has the new one

    correct(root, "p0", 2)
    (root / "CorrectedMasks/p6.png").unlink()
    run_all(data, run_plan(recipe, corrected=True), out)
    assert of(at, STAY) == first and not any(
        then == now for then, now in zip(learned, of(at, LEARNED), strict=True)
    )
    assert (at.mirrored / "p6.png").samefile(at.masks / "p6.png")


@pytest.mark.slow
def test_a_run_whose_corrections_are_all_gone_is_one_without(
    finished: RunPlaces, recipe: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "set", tmp_path / "run"
    shutil.copytree(finished.data_root, root)
    shutil.copytree(finished.logdir, out)
    at, data = RunPlaces(out, root), open_data(root)
    correct(root, "p0", 1)
    run_all(data, run_plan(recipe, corrected=True), out)
    assert masks(at) != masks(finished)
    shutil.rmtree(root / "CorrectedMasks")
    run_all(data, run_plan(recipe, corrected=True), out)
    assert masks(at) == masks(finished)
    run_all(data, run_plan(recipe), out)  # nor is the option needed any more
    with pytest.raises(InputError, match="no photograph of the list has a mask in"):
        run_all(data, run_plan(recipe, corrected=True), out)


def test_bad_corrections_stop_a_run_before_it_begins(
    finished: RunPlaces, recipe: Path, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(finished.data_root, root)
    words = (root, "--out", tmp_path / "run", "--recipe", recipe, "--device", "cpu", "--corrected")
    done = run(command.main, *words)
    assert done.status == 2 and done.lines == [
        f"error: --corrected: no photograph of the list has a mask in {root / 'CorrectedMasks'}: "
        "put them there as <id>.png (`smaf import` does), or leave --corrected out"
    ]
    write_mask(root / "CorrectedMasks/p3.png", np.zeros((4, 4), np.uint8))
    done = run(command.main, *words)
    assert done.status == 2 and len(done.lines) == 1
    assert "CorrectedMasks/p3.png is 4×4 pixels, its photograph is 60×48" in done.lines[0]
    assert not (tmp_path / "run/eps_cls_mode").exists()


def test_corrections_of_other_photographs_teach_nothing(
    finished: RunPlaces, recipe: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "set", tmp_path / "run"
    shutil.copytree(finished.data_root, root)
    shutil.copytree(finished.logdir, out)
    correct(root, "p7", 2)
    before = [stamps(out / name) for name in (*STAY, *LEARNED)]
    words = (root, "--out", out, "--recipe", recipe, "--device", "cpu", "--num_workers", 0)
    words = (*words, "--masks_by", "network")
    lines = good(run(command.main, *words, "--corrected")).lines
    assert lines[:2] == [
        "1 of 8 photographs have corrected masks",
        "none of these is on list train: they teach nothing",
    ]
    assert [stamps(out / name) for name in (*STAY, *LEARNED)] == before
    assert (read_mask(out / "masks/p7.png") == open_data(root).corrected("p7")).all()
    about = json.loads((out / "run.json").read_text())[-1]["data_set"]
    assert (about["corrected_masks"], about["corrected_masks_trained_on"]) == (1, 0)


@pytest.mark.slow
def test_without_saliency_stage_4_alone_is_taught(
    finished: RunPlaces, recipe: Path, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(finished.data_root, root)
    data, out = open_data(root), tmp_path / "run"
    at = run_all(data, run_plan(recipe, saliency=False), out)
    correct(root, "p0", 1)
    names = ("eps_cls_mode", "cam_student", "pseudo_mask")
    before, network = of(at, names), at.segmenter.read_bytes()
    run_all(data, run_plan(recipe, saliency=False, corrected=True), out)
    assert of(at, names) == before and at.segmenter.read_bytes() != network
    assert record(at)["data_set"]["true_masks_for_thresholds"] == 6
    assert (read_mask(at.mirrored / "p0.png") == data.corrected("p0")).all()


@pytest.mark.slow
def test_a_stopped_run_with_other_corrections_ends_as_one_that_ran_through(
    finished: RunPlaces, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after stage 2; then a class is drawn that p1's label, a box, does not name."""
    root, took = tmp_path / "set", Notes.took
    shutil.copytree(finished.data_root, root)
    correct(root, "p1", 2)
    data, plan = open_data(root), run_plan(recipe, corrected=True)

    def stop(notes: Notes, key: str, seconds: float) -> None:
        took(notes, key, seconds)
        if key == "train_fusion":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Notes, "took", stop)
        run_all(data, plan, tmp_path / "stopped")
    correct(root, "p1", 3)
    stopped, fresh = (run_all(data, plan, tmp_path / name) for name in ("stopped", "fresh"))
    assert stopped.student.read_bytes() == fresh.student.read_bytes()
    assert masks(stopped) == masks(fresh)
    mask = read_mask(stopped.mirrored / "p1.png")
    assert set(np.unique(mask).tolist()) == {0, 3}  # p1 is 48 pixels wide: nothing is ignored
    assert "p1.jpg,box" in (root / "labels.csv").read_text()
