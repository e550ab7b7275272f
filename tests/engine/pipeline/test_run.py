"""A whole run: what it writes, how it goes on, what it reads true masks for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_set import run_plan, without_rehearsal_and_export, write_recipe
from saliency_graphs import mean_graph
from small_set import PICTURES, TRAIN, good, make_set, needs_export, run, stamps, write_list

import smaf
from smaf import export, import_masks
from smaf import run as command
from smaf.core.errors import InputError
from smaf.core.images import read_mask
from smaf.core.saliency_maps import made_here
from smaf.data.layout import DataRoot, open_data
from smaf.engine.evaluation import evaluate_masks
from smaf.engine.outputs import Output
from smaf.engine.pipeline import RunPlaces, network, run_all
from smaf.engine.pipeline import estimate as estimating
from smaf.engine.pipeline.notes import Notes
from smaf.ops.quality import mask_agreement


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe."""
    return write_recipe(tmp_path_factory.mktemp("recipes") / "tiny")


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without rehearsal and export."""
    without_rehearsal_and_export(monkeypatch)


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPlaces:
    """A finished run without rehearsal and export; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        without_rehearsal_and_export(patch)
        return run_all(open_data(make_set(folder / "set")), run_plan(recipe), folder / "run")


def record(at: RunPlaces) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((at.logdir / "run.json").read_text())[-1]
    return entry


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def test_masks_of_every_photograph(finished: RunPlaces) -> None:
    assert set(files(finished.mirrored)) == {f"{i}.png" for i in PICTURES}
    for image_id, (w, h, shown) in PICTURES.items():
        mask = read_mask(finished.mirrored / f"{image_id}.png", size=(w, h))
        assert set(np.unique(mask).tolist()) <= {0, *(kind + 1 for kind in shown)}
        assert (finished.masks / f"{image_id}.png").samefile(finished.mirrored / f"{image_id}.png")
    assert (finished.mirrored / "classes.txt").read_text() == "background\nball\nbox\ntent\n"


def test_the_record(finished: RunPlaces) -> None:
    entry = record(finished)
    assert entry["finished"] and entry["settings"]["seed"] == 1337
    assert entry["data_set"]["classes"] == {"ball": 3, "box": 3, "tent": 3}
    assert (entry["data_set"]["photographs"], entry["data_set"]["trained_on"]) == (8, 6)
    background = entry["thresholds"]["background"]
    assert background["from"] == "6 true masks of list train, 6 of them with CRF"
    assert finished.masks == finished.known_masks
    sweep = json.loads((finished.logdir / "network_threshold.json").read_text())
    best = max(sweep["sweep"], key=lambda row: row["miou"])
    assert background["before_crf"] == best["threshold"] == sweep["threshold"]
    tried = background["after_crf"]
    assert tried[str(background["threshold"])] == max(tried.values())
    masks = json.loads((finished.masks / "run.json").read_text())[-1]["settings"]
    assert masks["threshold"] == background["threshold"] and masks["crf"] == "maps"
    # all true masks of the list took part: these masks' own score
    train = evaluate_masks(
        open_data(finished.data_root), list_name="train", pred_dir=finished.masks, quiet=True
    )
    assert max(tried.values()) == pytest.approx(float(train.matrix.compute()["miou"]))
    assert set(entry["seconds_of_steps"]) >= {"train_eps", "gen_pm", "train_seg", "report"}
    assert entry["files"] == ["masks/", "segmenter.pth", "report.html", "quality.csv"]


def test_scores_are_those_of_the_validation_list(finished: RunPlaces) -> None:
    scores = record(finished)["scores"]
    assert list(scores) == [
        "pseudo masks (labels known)",
        "network (labels unknown)",
        "network (labels known)",
    ]
    pairs = np.zeros((4, 4), dtype=np.int64)
    for image_id in ("p6", "p7"):
        truth = read_mask(finished.data_root / f"SegmentationClassAug/{image_id}.png")
        mask = read_mask(finished.masks / f"{image_id}.png")
        kept = truth != 255
        np.add.at(pairs, (truth[kept], mask[kept]), 1)
    iou = np.diag(pairs) / (pairs.sum(0) + pairs.sum(1) - np.diag(pairs))
    given = scores["network (labels known)"]
    assert given["images"] == 2 and given["miou"] == pytest.approx(np.nanmean(iou))


def test_the_report(finished: RunPlaces) -> None:
    page = (finished.logdir / "report.html").read_text(encoding="utf-8")
    facts = json.loads(page.split('id="facts">')[1].split("</script>")[0])
    assert [card["name"] for card in facts["cards"]] == [f"{i}.jpg" for i in PICTURES]
    every = ["cam", "target", "fused", "mask", "crf", "network", "truth", "saliency"]
    assert [layer["key"] for layer in facts["layers"]] == every
    assert facts["layers"][2]["title"] == "network's map"
    classes = page.split('id="classes"')[1].split("</section>")[0]
    assert "network, labels known, with CRF, %" in classes and "pseudo masks" not in classes
    kept = {card["name"]: set(card["layers"]) for card in facts["cards"]}
    assert kept["p0.jpg"] == set(every) and kept["p6.jpg"] == set(every) - {"cam", "target"}
    for text in ("pseudo masks, with CRF", "network, fused maps", "self-training", "Settings"):
        assert text in page
    lines = (finished.logdir / "quality.csv").read_text().splitlines()
    assert lines[0] == "image,quality,scales,crf,saliency,networks" and len(lines) == 9
    for line in lines[1:]:  # the mean of two agreements: with saliency, and with stage 3's mask
        name, *values = line.split(",")
        shown = PICTURES[name][2]
        masks = [read_mask(f / f"{name}.png") for f in (finished.pseudo_masks, finished.masks)]
        both = mask_agreement(*masks, shown)
        assert float(values[4]) == pytest.approx(both, abs=1e-4)
        assert float(values[0]) == pytest.approx((both + float(values[3])) / 2, abs=1e-4)


def test_saliency_weighs_in_the_last_masks_alone(finished: RunPlaces) -> None:
    """The network's masks weigh it; those that it learned do not."""
    weights = {
        folder.name: json.loads((folder / "run.json").read_text())[-1]["settings"][
            "saliency_weight"
        ]
        for folder in (finished.pseudo_masks, finished.known_masks)
    }
    assert weights == {"pseudo_mask": 0.0, "network_mask": 0.6}


def test_masks_by_the_classifier_are_stage_3s(
    finished: RunPlaces, recipe: Path, light: None, tmp_path: Path
) -> None:
    """The steps that make masks of the network's maps are left out; the others are the same."""
    data, out = open_data(finished.data_root), tmp_path / "run"
    at = run_all(data, run_plan(recipe, masks_by="classifier"), out)
    assert not at.known_masks.exists() and not at.network_maps.exists()
    assert at.maps == at.student_maps
    assert files(at.mirrored) == {
        f"{image_id}.png": (finished.pseudo_masks / f"{image_id}.png").read_bytes()
        for image_id in PICTURES
    }
    assert list(record(at)["scores"]) == ["pseudo masks (labels known)", "network (labels unknown)"]
    sweep = json.loads((out / "threshold.json").read_text())
    assert record(at)["thresholds"]["background"]["before_crf"] == sweep["threshold"]


def test_a_second_call_does_nothing(
    finished: RunPlaces, recipe: Path, light: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stamps(finished.logdir)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network is built")

    monkeypatch.setattr("smaf.models.build.build_classifier", refuse)
    monkeypatch.setattr("smaf.engine.trained.build_classifier", refuse)
    run_all(open_data(finished.data_root), run_plan(recipe), finished.logdir)
    assert stamps(finished.logdir) == before
    words = (finished.data_root, "--recipe", recipe, "--out", finished.logdir, "--device", "cpu")
    words = (*words, "--masks_by", "network")
    done = good(run(command.main, *words, "--num_workers", 1))
    assert done.lines == [f"{finished.logdir}: all is done; --overwrite starts afresh"]
    assert stamps(finished.logdir) == before
    done = run(command.main, *words, "--quick")
    assert done.status == 2 and "quick was False, is True" in done.lines[0]


def test_a_run_stopped_after_each_step_ends_as_one_that_ran_through(
    finished: RunPlaces, recipe: Path, light: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    took, data, plan = Notes.took, open_data(finished.data_root), run_plan(recipe)

    def stop(notes: Notes, key: str, seconds: float) -> None:
        took(notes, key, seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(Notes, "took", stop)
    stops = 0
    while stops < 20:
        try:
            run_all(data, plan, tmp_path / "run")
            break
        except KeyboardInterrupt:
            stops += 1
            assert not json.loads((tmp_path / "run/run.json").read_text())[-1]["finished"]
    at = RunPlaces(tmp_path / "run", data.root)
    assert stops == len(record(finished)["seconds_of_steps"])
    for folder in ("masks", "segmented", "pseudo_mask", "network_mask"):
        assert files(tmp_path / "run" / folder) == files(finished.logdir / folder)
    assert record(at)["scores"] == record(finished)["scores"] and record(at)["finished"]
    assert set(record(at)["seconds_of_steps"]) == set(record(finished)["seconds_of_steps"])


def test_a_lost_file_is_made_again(
    finished: RunPlaces, recipe: Path, light: None, tmp_path: Path
) -> None:
    shutil.copytree(finished.logdir, tmp_path / "run")
    (tmp_path / "run/masks/p3.png").unlink()
    (tmp_path / "run/network_mask/p3.png").unlink()
    (tmp_path / "run/report.html").unlink()
    run_all(open_data(finished.data_root), run_plan(recipe), tmp_path / "run")
    assert files(tmp_path / "run/masks") == files(finished.mirrored)
    assert (tmp_path / "run/report.html").is_file()


def test_other_settings_are_refused_and_overwrite_starts_afresh(
    finished: RunPlaces, recipe: Path, light: None, tmp_path: Path
) -> None:
    out, data = tmp_path / "run", open_data(finished.data_root)
    shutil.copytree(finished.logdir, out)
    with pytest.raises(InputError, match=r"run was made with other settings \(seed was 1337, is 1"):
        run_all(data, run_plan(recipe, seed=1), out)
    other = write_recipe(tmp_path / "other")
    (other / "gen_pm.args").write_text("--scales 0.5 --no_flip\n")
    with pytest.raises(InputError, match=r"cam_student was made with other settings .*scales was"):
        run_all(data, run_plan(other), out)
    (out / "mine.txt").write_text("kept")
    run_all(data, run_plan(recipe, seed=1), Output(out, overwrite=True))
    entries = json.loads((out / "run.json").read_text())
    assert entries[-1]["settings"]["seed"] == 1 and entries[-1]["finished"]
    assert (out / "mine.txt").read_text() == "kept" and len(files(out / "masks")) == 8


def test_true_masks_teach_nothing(
    finished: RunPlaces, recipe: Path, light: None, tmp_path: Path
) -> None:
    """Without any the networks up to the threshold are the same, which then is the recipe's."""
    data = open_data(make_set(tmp_path / "set", masks=False))
    at = run_all(data, run_plan(recipe), tmp_path / "run")
    for name in ("eps", "student"):
        assert getattr(at, name).read_bytes() == getattr(finished, name).read_bytes()
    entry = record(at)
    assert entry["thresholds"]["background"] == {"threshold": 0.38, "from": f"the recipe {recipe}"}
    assert entry["scores"] == {} and len(files(at.mirrored)) == 8
    page = (at.logdir / "report.html").read_text(encoding="utf-8")
    assert "There are no scores" in page and '"key": "truth"' not in page


def test_the_threshold_sees_true_masks_of_the_training_list_alone(
    finished: RunPlaces, recipe: Path, light: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: dict[str, set[str]] = {}
    step, took, mask = ["lists"], Notes.took, DataRoot.mask

    def noted(data: DataRoot, image_id: str, **size: Any) -> np.ndarray:
        read.setdefault(step[0], set()).add(image_id)
        return mask(data, image_id, **size)

    def next_step(notes: Notes, key: str, seconds: float) -> None:
        read[key] = read.pop("now", set())
        step[0] = "now"
        took(notes, key, seconds)

    monkeypatch.setattr(DataRoot, "mask", noted)
    monkeypatch.setattr(Notes, "took", next_step)
    (tmp_path / "set").mkdir()
    root = make_set(tmp_path / "set" / "in")
    for image_id in ("p0", "p1", "p2"):
        (root / f"SegmentationClassAug/{image_id}.png").unlink()
    run_all(open_data(root), run_plan(recipe), tmp_path / "run")
    chosen = {"threshold", "network_threshold"}
    assert all(read[key] == {"p3", "p4", "p5"} for key in chosen)
    assert read["scores"] == {"p6", "p7"}
    silent = set(read) - chosen - {"lists", "now", "scores", "report", "train_eps"}
    assert len(silent) > 8 and not any(read[key] for key in silent)


def test_folders_of_photographs_are_mirrored(recipe: Path, light: None, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", masks=False)
    (root / "train2014").mkdir()
    for image_id in ("p1", "p6"):
        (root / f"JPEGImages/{image_id}.jpg").rename(root / f"train2014/{image_id}.jpg")
    at = run_all(open_data(root), run_plan(recipe, quick=True), tmp_path / "run")
    moved = {"train2014/p1.png", "train2014/p6.png"}
    stayed = {f"JPEGImages/{i}.png" for i in PICTURES if i not in {"p1", "p6"}}
    assert set(files(at.mirrored)) == moved | stayed
    fused = json.loads((at.fused / "run.json").read_text())[-1]["settings"]
    assert fused["scales"] == [0.5]  # quick: without the largest
    write_list(root, "all", [i for i in PICTURES if i not in {"p6", "p7"}])
    write_list(root, "val", ["p7"])
    run_all(open_data(root), run_plan(recipe, quick=True), tmp_path / "run")
    assert set(files(at.mirrored)) == (moved | stayed) - {"train2014/p6.png"}


def test_missing_saliency_maps_are_made_and_others_stay(
    recipe: Path, light: None, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", masks=False)
    for image_id in ("p0", "p1", "p2", "p3", "p4"):
        (root / f"SALImages/{image_id}.png").unlink()
    model = mean_graph(tmp_path / "isnet-general-use.onnx", bias=0.5)
    foreign = (root / "SALImages/p5.png").read_bytes()
    at = run_all(open_data(root), run_plan(recipe, model=str(model)), tmp_path / "run")
    assert all(made_here(root / f"SALImages/{i}.png") for i in TRAIN if i != "p5")
    assert (root / "SALImages/p5.png").read_bytes() == foreign
    before = stamps(root), stamps(at.logdir)
    run_all(open_data(root), run_plan(recipe, model=str(model)), tmp_path / "run")
    assert (stamps(root), stamps(at.logdir)) == before
    (root / "SALImages/p5.png").write_bytes((root / "SALImages/p1.png").read_bytes())
    with pytest.raises(InputError, match=r"eps_cls_mode was made .*of saliency maps changed"):
        run_all(open_data(root), run_plan(recipe, model=str(model)), tmp_path / "run")
    other = mean_graph(tmp_path / "u2net.onnx", bias=0.4)
    with pytest.raises(InputError, match="SALImages was made with other settings"):
        run_all(open_data(root), run_plan(recipe, model=str(other)), tmp_path / "run2")


def test_without_saliency_masks_come_from_plain_cam(
    recipe: Path, light: None, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", masks=False)
    shutil.rmtree(root / "SALImages")
    at = run_all(open_data(root), run_plan(recipe, saliency=False), tmp_path / "run")
    assert len(files(at.mirrored)) == 8 and not at.student.exists()
    assert record(at)["thresholds"]["background"] == {
        "threshold": 0.2,
        "from": "plain CAM's default",
    }
    assert not (root / "SALImages").exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(
    recipe: Path, light: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set")
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(estimating.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"needs about 1 MB more .* where 1 MB are free"):
        run_all(open_data(root), run_plan(recipe), tmp_path / "run")
    assert not (tmp_path / "run/eps_cls_mode").exists()


def test_without_a_rehearsal_there_is_no_time(
    finished: RunPlaces, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "onnx_fault", lambda: "pip install onnx")
    shutil.copytree(finished.logdir, tmp_path / "run")
    (tmp_path / "run/steps.json").unlink()
    shutil.rmtree(tmp_path / "run/segmented")
    words = ("--recipe", recipe, "--device", "cpu", "--num_workers", 0, "--no_rehearsal")
    words = (*words, "--masks_by", "network")
    lines = good(run(command.main, finished.data_root, "--out", tmp_path / "run", *words)).lines
    starts = [line for line in lines if line.startswith("[")]
    assert starts[0] == ("[7 of 17] the background threshold, on 6 true masks of the training list")
    numbers = [line.split("]")[0] for line in starts]
    assert numbers == [f"[{number} of 17" for number in (7, 10, 11, 13, 15, 16, 17)]
    assert not any(" left of " in line for line in lines)
    assert files(tmp_path / "run/masks") == files(finished.mirrored)


def test_an_onnx_file_is_written_where_it_is_asked_for(
    finished: RunPlaces, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.logdir, tmp_path / "run")
    (written := tmp_path / "run/segmenter.onnx").unlink(missing_ok=True)
    words = ("--recipe", recipe, "--device", "cpu", "--num_workers", 0, "--no_rehearsal")
    words = (*words, "--masks_by", "network")

    def numbers(*more: str) -> list[str]:
        given = (finished.data_root, "--out", tmp_path / "run", *words, *more)
        lines = good(run(command.main, *given)).lines
        return [line.split("]")[0] for line in lines if line.startswith("[")]

    monkeypatch.setattr(network, "can_export", lambda: True)
    monkeypatch.setattr(network, "export_onnx", lambda path, *_, **__: path.write_bytes(b"new"))
    assert numbers("--no_onnx") == [] and not written.exists()
    assert numbers() == ["[10 of 17"] and written.read_bytes() == b"new"
    assert numbers() == [] and numbers("--no_onnx") == [] and written.exists()
    (tmp_path / "run/segmenter.pth").unlink()
    assert (
        numbers("--no_onnx") == ["[10 of 17"] and not written.exists()
    )  # it was another network's


def test_many_processes_are_refused(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="works in one process"):
        run_all(open_data(make_set(tmp_path / "set")), run_plan(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@needs_export
@pytest.mark.slow
def test_rehearsed_and_exported(recipe: Path, tmp_path: Path) -> None:
    data = open_data(make_set(tmp_path / "set"))
    at = RunPlaces(tmp_path / "run", data.root)
    words = ("--recipe", recipe, "--device", "cpu", "--num_workers", 0, "--masks_by", "network")
    lines = good(run(command.main, data.root, "--out", at.logdir, *words)).lines
    assert lines[0] == f"{at.logdir}: 1 of 17 steps are done"
    assert lines[1].startswith("rehearsing all stages") and lines[2].startswith("rehearsed in")
    starts = [line for line in lines if line.startswith("[")]
    # the saliency maps are there
    assert [line.split("]")[0] for line in starts] == [f"[{n} of 17" for n in range(2, 18)]
    assert " left of " in starts[0] and "training the EPS classifier, 4 steps · " in starts[0]
    assert not (tmp_path / "run/.rehearsal").exists()
    network = smaf.load(str(at.network.with_suffix(".onnx")))
    assert network.class_names == ("ball", "box", "tent")
    score = record(at)["thresholds"]["score"]["score"]
    assert network.settings.score == score and network.settings.background is None
    photo = Image.open(data.photo_path("p6"))
    masks = [
        smaf.load(str(at.network.with_suffix(s)))(photo, crf=False).mask for s in (".onnx", ".pth")
    ]
    assert masks[0].shape == (44, 60) and np.mean(masks[0] != masks[1]) < 0.02
    assert np.mean(masks[1] != read_mask(at.network_masks / "p6.png")) < 0.02


def test_its_masks_go_to_an_annotation_tool_and_come_back(
    finished: RunPlaces, tmp_path: Path
) -> None:
    data = shutil.copytree(finished.data_root, tmp_path / "data")
    out = tmp_path / "out"
    good(run(export.main, finished.logdir, "--to", "coco", "--polygons", "--out", out))
    good(run(import_masks.main, out, "--into", data, "--empty", "background"))
    assert {path.stem for path in (data / "CorrectedMasks").iterdir()} == set(PICTURES)
    for image_id in PICTURES:
        np.testing.assert_array_equal(
            read_mask(data / f"CorrectedMasks/{image_id}.png"),
            read_mask(finished.masks / f"{image_id}.png"),
        )
