"""The page of a run, from a folder made by hand: its numbers, its table of quality, its errors."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium, opened, started
from made_run import THRESHOLD, make_run
from small_set import PICTURES, good, make_set, run

from smaf import gen_report
from smaf.core.images import read_mask, write_mask
from smaf.data.pointers import write_files, write_pointers
from smaf.engine.pipeline import RunPlaces
from smaf.engine.reporting.photographs import chosen
from smaf.engine.reporting.quality import Estimate, ranked
from smaf.engine.reporting.rungs import CRF, NETWORK, rungs_of
from smaf.engine.reporting.runs import open_runs
from smaf.engine.reporting.trainings import read_curves
from smaf.report.thumbnails import mask_uri


@pytest.fixture
def made(tmp_path: Path) -> RunPlaces:
    """A run in the folder `first`."""
    return make_run(tmp_path / "first", tmp_path / "set")


def block(path: Path, name: str) -> Any:
    found = re.search(rf'id="{name}">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)
    assert found is not None
    return json.loads(found[1])


def quality(at: RunPlaces) -> dict[str, dict[str, str]]:
    with (at.logdir / "quality.csv").open(encoding="utf-8", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_the_page_and_the_table(made: RunPlaces) -> None:
    done = good(run(gen_report.main, made.logdir, "--num_workers", 0))
    page = made.logdir / "report.html"
    assert f"wrote {page}: 8 photographs" in done.lines[-1]
    facts = block(page, "facts")
    cards = {card["name"].removesuffix(".jpg"): card for card in facts["cards"]}
    assert [card["name"] for card in facts["cards"]] == [f"{i}.jpg" for i in PICTURES]
    assert {(card["also"], card["fault"]) for card in facts["cards"]} == {("", "")}
    assert cards["p3"]["classes"] == [0, 1]
    assert set(cards["p0"]["layers"]) == {
        "cam", "target", "fused", "mask", "crf", "truth", "saliency"
    }  # fmt: skip
    assert set(cards["p6"]["layers"]) == {"fused", "mask", "crf", "network", "truth", "saliency"}
    truth = read_mask(made.data_root / "SegmentationClassAug/p6.png")
    mask = read_mask(made.masks / "p6.png")
    kept = truth != 255
    iou = ((mask == 1) & (truth == 1))[kept].sum() / ((mask == 1) | (truth == 1))[kept].sum()
    assert cards["p6"]["iou"] == pytest.approx(iou, abs=1e-4) and cards["p0"]["iou"] == 1.0
    table = quality(made)
    assert list(table) == list(PICTURES) and table["p0"]["crf"] == "1.0000"
    assert 0.5 < float(table["p0"]["scales"]) < 0.81  # 0.9² in the mask, 0.1² beside it
    assert float(table["p6"]["quality"]) < float(table["p0"]["quality"])
    assert float(table["p6"]["quality"]) == pytest.approx(cards["p6"]["quality"], abs=1e-4)
    picture = block(page, "pictures-0")[6]
    assert set(picture) == {*cards["p6"]["layers"], "photo"}


@needs_chromium
def test_the_page_in_a_browser(made: RunPlaces) -> None:
    """The worst mask first, its truth by a key, its class in the legend."""
    good(run(gen_report.main, made.logdir, "--num_workers", 0))
    with started() as browser, opened(browser, made.logdir / "report.html") as page:
        assert page.locator(".card .name").first.inner_text() == "p6.jpg"
        pressed = page.locator(".layers button[aria-pressed=true]").first
        assert pressed.inner_text() == "6 mask + CRF"
        page.keyboard.press("8")
        assert pressed.inner_text() == "8 truth"
        label = page.locator(".card canvas").first.get_attribute("aria-label")
        assert label == "truth of p6.jpg: ball"
        assert page.locator(".chart").count() >= 4
        page.select_option("#class", "2")
        assert page.locator("#count").inner_text() == "4 of 8 photographs"


def test_the_ladder(made: RunPlaces) -> None:
    (opened,) = open_runs([made.logdir])
    rungs = {(rung.side, rung.title): rung for rung in rungs_of(opened)}
    assert next(iter(rungs)) == ("scored", "self-trained, fused maps")  # not trained on: first
    assert rungs["thresholds", CRF].scores["miou"] == 1.0
    assert ("thresholds", NETWORK) not in rungs  # it has no masks of them
    assert 0.9 < rungs["scored", CRF].scores["miou"] < 1.0
    network = rungs["scored", NETWORK].scores
    assert network["recall"].tolist() == [1.0, 0.0, 0.0, 0.0]
    maps = rungs["thresholds", "EPS, fused maps"]
    thresholds, mious = maps.sweep
    assert THRESHOLD in thresholds and mious[thresholds.index(THRESHOLD)] == 1.0
    # every pixel passes below 0.1
    assert mious[0] < 0.5 and maps.result.threshold == thresholds[int(np.argmax(mious))]


def test_two_runs_side_by_side(made: RunPlaces, tmp_path: Path) -> None:
    other = make_run(tmp_path / "second", made.data_root, shift=6, seed=2)
    out = tmp_path / "both.html"
    good(run(gen_report.main, made.logdir, other.logdir, "--out", out, "--num_workers", 0))
    text = out.read_text(encoding="utf-8")
    assert "people corrected" not in text and '"corrected"' not in text
    assert "SMAF report: first, second" in text and "Settings that differ" in text
    differing = text.split("<h3>Settings that differ</h3>")[1].split("</table>")[0]
    assert re.findall(r"<th scope=\"row\">(.*?)</th>", differing) == ["seed"]
    assert {"key": "run1", "title": "mask of second", "smooth": False} in block(out, "facts")[
        "layers"
    ]
    pictures = block(out, "pictures-0")
    assert pictures[6]["run1"] != pictures[6]["crf"] and pictures[0]["run1"] == pictures[0]["crf"]
    assert f"first: {CRF}" in text and f"second: {CRF}" in text
    assert not (other.logdir / "report.html").exists()


@pytest.mark.parametrize(
    ("taken", "learned", "saliency", "told"),
    [
        (37, 37, True, "37 photographs have masks that people corrected: stages 2 and 4 learned"),
        (1, 1, False, "1 photograph has a mask that people corrected: stage 4 learned it."),
        (2, 1, True, "corrected: stages 2 and 4 learned 1 of them, as many as are trained on."),
        (2, 0, True, "corrected: they are not trained on and taught nothing."),
    ],
)
def test_what_people_corrected(
    taken: int, learned: int, saliency: bool, told: str, made: RunPlaces
) -> None:
    """The introduction and the scores tell how many; the gallery shows them."""
    (entry,) = json.loads((made.logdir / "run.json").read_text())
    entry["data_set"] |= {"corrected_masks": taken, "corrected_masks_trained_on": learned}
    entry["settings"]["saliency"] = saliency
    (made.logdir / "run.json").write_text(json.dumps([entry]))
    (reports,) = open_runs([made.logdir])
    assert (reports.corrected, reports.learned) == (taken, learned)
    mask = np.full((48, 60), 3, dtype=np.uint8)
    write_mask(made.data_root / "CorrectedMasks/p0.png", mask)
    good(run(gen_report.main, made.logdir, "--num_workers", 0))
    page = made.logdir / "report.html"
    text = page.read_text(encoding="utf-8")
    note = f"; masks that people corrected were learned: {learned}." if learned else ".</p>"
    assert told in text and f"No network was trained on a true mask{note}" in text
    facts = block(page, "facts")
    assert [card["name"] for card in facts["cards"] if "corrected" in card["layers"]] == ["p0.jpg"]
    assert block(page, "pictures-0")[0]["corrected"] == mask_uri(mask)


def test_without_true_masks(tmp_path: Path) -> None:
    at = make_run(tmp_path / "run", tmp_path / "set")
    shutil.rmtree(at.data_root / "SegmentationClassAug")
    for name in ("thresholds", "scored"):
        at.list(name).unlink()
    good(run(gen_report.main, at.logdir, "--num_workers", 0))
    text = (at.logdir / "report.html").read_text(encoding="utf-8")
    assert "There are no scores" in text and "Confusion" not in text and "Spearman" not in text
    assert all(card["iou"] is None for card in block(at.logdir / "report.html", "facts")["cards"])


def test_what_is_gone_is_left_out(made: RunPlaces) -> None:
    """Saliency maps, masks of the network, and of a mask that is damaged the layer alone."""
    shutil.rmtree(made.data_root / "SALImages")
    shutil.rmtree(made.network_masks)
    write_mask(made.masks / "before_crf/p0.png", np.zeros((3, 3), dtype=np.uint8))
    good(run(gen_report.main, made.logdir, "--num_workers", 0))
    cards = block(made.logdir / "report.html", "facts")["cards"]
    assert not any({"saliency", "network"} & set(card["layers"]) for card in cards)
    assert "mask" not in cards[0]["layers"] and "mask" in cards[1]["layers"]
    assert quality(made)["p0"]["saliency"] == ""
    assert float(quality(made)["p0"]["quality"]) > 0.8


def point(at: RunPlaces, folder: Path) -> None:
    """Make the data set point to photographs in folders, as `smaf init` does."""
    files = {f"p{n}": f"{'sea' if n % 2 else 'hills'}/IMG {n}.jpg" for n in range(8)}
    for image_id, file in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(at.data_root / f"JPEGImages/{image_id}.jpg", folder / file)
    write_pointers(at.data_root, str(folder), None)
    write_files(at.data_root, [(i, file, "") for i, file in files.items()], masks=False)


@needs_chromium
def test_cards_have_the_names_that_the_user_gave(made: RunPlaces, tmp_path: Path) -> None:
    """The photograph's own file, and its id where that is another word; both are searched."""
    point(made, tmp_path / "holiday")
    good(run(gen_report.main, made.logdir, "--num_workers", 0))
    cards = block(made.logdir / "report.html", "facts")["cards"]
    assert (cards[3]["name"], cards[3]["also"]) == ("sea/IMG 3.jpg", "p3")
    with started() as browser, opened(browser, made.logdir / "report.html") as page:
        for text, found in (("SEA/img", 4), ("p3", 1), ("img 3", 1), ("hills/img 3", 0)):
            page.fill("#text", text)
            assert page.locator("#count").inner_text() == f"{found} of 8 photographs"
        page.fill("#text", "p3")
        page.locator(".card").first.click()
        assert page.locator("#viewer-name").inner_text() == "sea/IMG 3.jpg (p3)"


@needs_chromium
def test_a_photograph_that_is_gone_or_damaged_has_a_card(made: RunPlaces) -> None:
    photos = made.data_root / "JPEGImages"
    (photos / "p1.jpg").unlink()
    (photos / "p2.jpg").write_bytes(b"no picture")
    (made.data_root / "SALImages/p4.png").write_bytes(b"no picture")
    (made.masks / "p5.png").write_bytes(b"no picture")
    done = good(run(gen_report.main, made.logdir, "--num_workers", 0))
    told = (
        "4 of 8 photographs have files that are missing or damaged, p1.jpg first: the photograph "
        "is gone"
    )
    assert [line for line in done.lines if line.startswith("warning")] == [f"warning: {told}"]
    page = made.logdir / "report.html"
    assert told in page.read_text(encoding="utf-8")
    cards = {card["name"]: card for card in block(page, "facts")["cards"]}
    assert [card["fault"] for card in cards.values()] == [
        "",
        "the photograph is gone",
        "the photograph cannot be read",
        "",
        "the saliency map cannot be used",
        "the mask cannot be used",
        "",
        "",
    ]
    picture = block(page, "pictures-0")[1]
    assert picture["photo"] is None and picture["crf"].startswith("data:image/png")
    assert cards["p1.jpg"]["size"] == [48, 60]
    assert {"mask", "crf", "truth"} <= set(cards["p1.jpg"]["layers"])
    assert cards["p1.jpg"]["iou"] == 1.0 and cards["p4.jpg"]["quality"] > 0.8
    assert cards["p5.jpg"]["quality"] is None and "crf" not in cards["p5.jpg"]["layers"]
    assert list(quality(made)) == list(PICTURES)
    with started() as browser, opened(browser, page) as shown:
        shown.fill("#text", "p1")
        assert shown.locator(".card .fault").inner_text() == "the photograph is gone"
        shown.locator(".card canvas[data-drawn]").first.wait_for()


def test_without_any_photograph(made: RunPlaces, tmp_path: Path) -> None:
    """The folder that `dataset.json` names is gone."""
    point(made, tmp_path / "holiday")
    shutil.rmtree(tmp_path / "holiday")
    done = good(run(gen_report.main, made.logdir, "--num_workers", 0))
    assert "8 of 8 photographs have files that are missing or damaged, hills/IMG 0" in done.err
    cards = block(made.logdir / "report.html", "facts")["cards"]
    assert all("crf" in card["layers"] for card in cards)


def test_curves_of_tensorboard(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    assert read_curves(tmp_path / "none") == {}
    for first, last in ((0, 30), (20, 40)):  # the second went on after a stop at 20
        with SummaryWriter(str(tmp_path / "tb"), purge_step=first) as board:
            for step in range(first, last, 10):
                board.add_scalar("train/loss", step + first, step)
    assert read_curves(tmp_path / "tb") == {
        "train/loss": ([0, 10, 20, 30], [0.0, 10.0, 40.0, 50.0])
    }
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/events.out.tfevents.1").write_bytes(b"\0" * 100)
    assert read_curves(tmp_path / "bad") == {}


def test_more_photographs_than_the_page_takes() -> None:
    estimates = {
        "a": Estimate(scales=0.9),
        "b": Estimate(scales=0.1),
        "c": Estimate(scales=0.8, iou=0.5),
        "d": Estimate(),
        "e": Estimate(scales=0.2),
    }
    assert chosen(list(estimates), estimates, 3) == ["b", "c", "e"]
    assert chosen(list(estimates), estimates, 5) == list("abcde")
    assert ranked(list(estimates.values())) == ([0.8], [0.5])


def test_errors_are_one_line(made: RunPlaces, tmp_path: Path) -> None:
    def fault(*words: object) -> str:
        done = run(gen_report.main, *words, "--num_workers", 0)
        assert done.status == 2 and len(done.lines) == 1, done.err
        return done.lines[0]

    assert "nowhere/run.json does not exist: name the folder" in fault(tmp_path / "nowhere")
    stage = fault(made.student.parent)
    assert "is not the record of a finished `smaf run`" in stage
    other = make_set(tmp_path / "other")
    (other / "metadata/small/labels.txt").write_text("ball\nbox\ncone\n")
    (other / "labels.csv").write_text("image,labels\np0,ball\n")
    line = fault(made.logdir, "--data_root", other)
    assert "has the classes ball, box, cone" in line and "--data_root" in line
    assert "--photographs 0: expected more than 0" in fault(made.logdir, "--photographs", 0)
    (tmp_path / "mine.csv").write_text("mine")
    for out in (tmp_path / "mine.csv", tmp_path):
        assert f"--out {out} is no page of this project" in fault(made.logdir, "--out", out)
    assert (tmp_path / "mine.csv").read_text() == "mine"
    twice = f"run {made.logdir} is named twice: name each run once"
    assert twice in fault(made.logdir, made.logdir)
    second = make_run(tmp_path / "second", made.data_root, class_list=["ball", "box"])
    assert "report them one by one" in fault(made.logdir, second.logdir)
