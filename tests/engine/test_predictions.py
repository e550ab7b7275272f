"""`smaf predict`'s output folder: runs that go on where they stopped, what they leave alone, names,
memory."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image
from small_set import Done, run, stamps

from smaf.core.images import read_mask, write_mask
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import ONE_VIEW, Views
from smaf.engine.predicting.overlay import MAX_OVERLAY, draw_overlay, write_overlay
from smaf.engine.predicting.photo_labels import Labels
from smaf.engine.predicting.photographs import find_photographs
from smaf.engine.predicting.predict import predict
from smaf.engine.predicting.predictions_page import write_predictions_page
from smaf.engine.predicting.predictor import Predictor
from smaf.engine.predicting.result_files import Photograph, Pictures, cam_names

PLAIN = Pictures()
SETTINGS = PredictSettings(ONE_VIEW, background=0.4, score=0.5)


class Colours:
    """Two classes: red and green, background where neither is bright. Calls `on_call` with the
    number of its calls."""

    class_names, mean, std, segments = ("red", "green"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False

    def __init__(self, on_call: Any = None) -> None:
        self.calls, self.on_call = 0, on_call

    def cam(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.on_call is not None:
            self.on_call(self.calls)
        return 8.0 * np.concatenate([images[:, :2], np.zeros_like(images[:, :1])], axis=1)


def photo(
    path: Path, left: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (16, 12)
) -> Path:
    """The left half in a colour, the rest black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size)
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    image.save(path, quality=95)
    return path


def go(
    *photographs: object,
    out: Path,
    labels: str | None = None,
    network: Colours | None = None,
    overwrite: bool = False,
    settings: PredictSettings = SETTINGS,
    crf: bool = False,
    pictures: Pictures = PLAIN,
) -> tuple[Done, int]:
    """Predict as the command does; how it ended, and how often the network ran."""
    network = network or Colours()

    def main(argv: Sequence[str] | None) -> None:
        found = find_photographs(argv or [])
        predict(
            Predictor(network, settings, crf),
            found,
            Labels.read(labels, network.class_names),
            out=out,
            weights="colours",
            weights_file=Path(__file__),
            overwrite=overwrite,
            pictures=pictures,
        )

    return run(main, *photographs), network.calls


def report(out: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((out / "predictions.json").read_text())
    return value


def masks(out: Path) -> list[str]:
    return [entry["mask"] for entry in report(out)["photographs"]]


def test_a_tree_and_its_second_run(tmp_path: Path) -> None:
    n, out = tmp_path / "n", tmp_path / "out"
    photo(n / "x/001.png")
    photo(n / "y/001.png", (0, 255, 0))
    assert go(n, out=out)[1] == 2
    assert (read_mask(out / "x/001.png")[:, :8] == 1).all() and (
        read_mask(out / "y/001.png")[:, :8] == 2
    ).all()
    assert (out / "x/001_overlay.jpg").is_file() and masks(out) == ["x/001.png", "y/001.png"]
    before = stamps(out / "x")
    done, calls = go(n / "**/*.png", out=out)
    assert done.status == 0 and calls == 0 and "2 of 2 photographs are done" in done.err
    photo(n / "z.png")  # added since
    photo(n / "y/001.png", (255, 0, 0))  # changed since
    done, calls = go(n, out=out)
    assert calls == 2 and "1 of 3 photographs are done" in done.err and stamps(out / "x") == before
    assert (read_mask(out / "y/001.png")[:, :8] == 1).all() and masks(out) == [
        "z.png",
        "x/001.png",
        "y/001.png",
    ]
    assert go(n / "z.png", out=out)[1] == 0 and len(masks(out)) == 3  # earlier entries stay


@pytest.mark.parametrize("out", ["n", "n/predictions"])
def test_into_the_folder_of_the_photographs_twice(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("n/a.jpg", "n/x/b.jpg", "n/c_overlay.jpg"):
        photo(Path(name))
    originals = {
        name: Path(name).read_bytes() for name in ("n/a.jpg", "n/x/b.jpg", "n/c_overlay.jpg")
    }
    assert go("n", out=Path(out))[1] == 3
    for _ in range(2):
        done, calls = go("n", out=Path(out))
        assert done.status == 0 and calls == 0 and "3 of 3 photographs are done" in done.err
        assert "left out 6 masks and overlays" in done.err
    assert sorted(masks(Path(out))) == ["a.png", "c_overlay.png", "x/b.png"]
    assert originals == {name: Path(name).read_bytes() for name in originals}


def test_masks_without_a_record_are_known_by_themselves(tmp_path: Path) -> None:
    """Of a run that was killed before version 0.4, which wrote its record at the end."""
    n = tmp_path / "n"
    photo(n / "a.jpg")
    go(n, out=n)
    (n / "predictions.json").unlink()
    done, calls = go(n, out=tmp_path / "out")
    assert done.status == 0 and calls == 1 and "left out 2 masks and overlays" in done.err
    done, calls = go(n, out=n)
    assert (
        done.status == 2
        and calls == 0
        and "holds a.png, which no recorded prediction made" in done.lines[-1]
    )


def test_photographs_and_true_masks_are_not_replaced(tmp_path: Path) -> None:
    n = tmp_path / "n"
    photo(n / "a.png")
    before = (n / "a.png").read_bytes()
    for _ in range(2):
        done, calls = go(n, out=n)
        assert done.status == 2 and calls == 0
        assert "holds a.png, which a mask or overlay would replace" in done.lines[-1]
    truth, out = np.ones((12, 16), dtype=np.uint8), tmp_path / "truth"
    write_mask(out / "a.png", truth)
    for overwrite in (False, True):
        done, _ = go(n, out=out, overwrite=overwrite)
        assert done.status == 2 and "which no recorded prediction made" in done.lines[-1]
    assert (read_mask(out / "a.png") == truth).all() and (n / "a.png").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("unforeseen")])
def test_stopped_and_gone_on(error: BaseException, tmp_path: Path) -> None:
    for name in "abcd":
        photo(tmp_path / f"n/{name}.png")

    def stop(call: int) -> None:
        if call == 3:
            raise error

    done, _ = go(tmp_path / "n", out=tmp_path / "out", network=Colours(stop))
    assert done.status == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert isinstance(error, KeyboardInterrupt) or "predicting photograph" in done.lines[-1]
    assert masks(tmp_path / "out") == ["a.png", "b.png"]
    before = stamps(tmp_path / "out")
    done, calls = go(tmp_path / "n", out=tmp_path / "out")
    assert done.status == 0 and calls == 2 and "2 of 4 photographs are done" in done.err
    assert masks(tmp_path / "out") == ["a.png", "b.png", "c.png", "d.png"]
    after = stamps(tmp_path / "out")
    assert all(
        after[name] == before[name] for name in ("a.png", "b.png", "a_overlay.jpg", "b_overlay.jpg")
    )


@pytest.mark.parametrize("fault", ["mask", "overlay", "other size", "killed before the record"])
def test_what_is_not_whole_is_made_again(fault: str, tmp_path: Path) -> None:
    n, out = tmp_path / "n", tmp_path / "out"
    for name in "ab":
        photo(n / f"{name}.png")
    go(n, out=out)
    whole = (out / "a.png").read_bytes()
    if fault in {"mask", "overlay"}:
        path = out / ("a.png" if fault == "mask" else "a_overlay.jpg")
        path.write_bytes(path.read_bytes()[:-20])
    elif fault == "other size":
        write_mask(out / "a.png", np.zeros((3, 4), dtype=np.uint8))
    else:
        record = report(out)
        record["photographs"] = record["photographs"][1:]
        (out / "predictions.json").write_text(json.dumps(record))
    done, calls = go(n, out=out)
    calls_expected = 0 if fault == "overlay" else 1  # the mask is there
    assert done.status == 0 and calls == calls_expected and (out / "a.png").read_bytes() == whole
    assert (out / "a_overlay.jpg").read_bytes()[-2:] == b"\xff\xd9" and len(masks(out)) == 2


def test_other_settings_never_mix(tmp_path: Path) -> None:
    n, out = tmp_path / "n", tmp_path / "out"
    for name in "ab":
        photo(n / f"{name}.png")
    go(n, out=out)
    other = PredictSettings(Views((1.0,)), background=0.4, score=0.3)
    done, calls = go(n / "a.png", out=out, settings=other)  # b.png would stay
    assert done.status == 2 and calls == 0 and len(masks(out)) == 2
    assert (
        "flip was False, is True; score was 0.5, is 0.3" in done.lines[-1]
        and "--overwrite" in done.lines[-1]
    )
    done, calls = go(n, out=out, settings=other)
    assert (
        done.status == 0
        and calls == 4  # with mirror images
        and report(out)["score"] == 0.3
        and "score was 0.5" in done.err
    )
    photo(n / "c.png")
    done, calls = go(n / "c.png", out=out, overwrite=True)
    assert done.status == 0 and calls == 1 and masks(out) == ["c.png"]
    assert sorted(p.name for p in out.iterdir()) == ["c.png", "c_overlay.jpg", "predictions.json"]


def test_other_labels_are_another_result(tmp_path: Path) -> None:
    n, out, table = tmp_path / "n", tmp_path / "out", tmp_path / "t.csv"
    for name in "ab":
        photo(n / f"{name}.png")
    table.write_text("image,labels\na.png,red\nb.png,red\n")
    assert go(n, out=out, labels=str(table))[1] == 2
    table.write_text("image,labels\na.png,red\nb.png,green\n")
    assert go(n, out=out, labels=str(table))[1] == 1
    assert (read_mask(out / "a.png")[:, :8] == 1).all() and not (
        read_mask(out / "b.png") == 1
    ).any()
    assert [entry["labels"] for entry in report(out)["photographs"]] == [["red"], ["green"]]
    assert go(n, out=out)[1] == 2  # without labels the scores decide


def test_another_photograph_of_the_same_name(tmp_path: Path) -> None:
    a, b, out = (
        photo(tmp_path / "a/1.png"),
        photo(tmp_path / "b/1.png", (0, 255, 0)),
        tmp_path / "out",
    )
    go(a, out=out)
    done, calls = go(b, out=out)
    assert (
        done.status == 2
        and calls == 0
        and "would replace" in done.lines[-1]
        and str(a) in done.lines[-1]
    )
    copy = tmp_path / "c/1.png"
    copy.parent.mkdir()
    copy.write_bytes(a.read_bytes())
    assert go(copy, out=out)[1] == 0  # the same contents elsewhere
    a.unlink()
    copy.unlink()
    assert go(b, out=out)[1] == 1


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"a": 1}',
        "{",
        '{"photographs": [{"photograph": "a", "mask": "../a.png", "overlay": "a_overlay.jpg"}]}',
        '{"photographs": [{"mask": "a.png"}]}',
    ],
)
def test_a_foreign_record_is_left_alone(text: str, tmp_path: Path) -> None:
    photo(tmp_path / "n/a.png")
    write_mask(tmp_path / "a.png", np.ones((2, 2), dtype=np.uint8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.json").write_text(text)
    for overwrite in (False, True):
        done, calls = go(tmp_path / "n", out=tmp_path / "out", overwrite=overwrite)
        assert (
            done.status == 2
            and calls == 0
            and "predictions.json" in done.lines[-1]
            and len(done.lines) == 1
        )
    assert (tmp_path / "out/predictions.json").read_text() == text and (
        tmp_path / "a.png"
    ).is_file()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_errors_belong_to_the_photograph(error: Exception, tmp_path: Path) -> None:
    for name in "abc":
        photo(tmp_path / f"n/{name}.png")
    (tmp_path / "n/d.png").symlink_to("nowhere.png")

    def fail(call: int) -> None:
        if call == 2:
            raise error

    done, _ = go(tmp_path / "n", out=tmp_path / "out", network=Colours(fail))
    assert done.status == 2 and "error: 2 of 4 photographs were left out" in done.lines[-1]
    assert masks(tmp_path / "out") == ["a.png", "c.png"]
    left_out = report(tmp_path / "out")["left_out"]
    assert [Path(entry["photograph"]).name for entry in left_out] == ["b.png", "d.png"]
    assert (
        "needs more memory" in left_out[0]["reason"]
        and "is a link to nowhere.png" in left_out[1]["reason"]
    )
    (tmp_path / "n/d.png").unlink()
    assert (
        go(tmp_path / "n", out=tmp_path / "out")[1] == 1
        and report(tmp_path / "out")["left_out"] == []
    )


LONG = "x" * 251


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems' file systems have no such names"
)
def test_names_of_every_kind(tmp_path: Path) -> None:
    n, out = tmp_path / "n", tmp_path / "out"
    names = [
        "a\nb.png",
        "\udcff\udcfe.png",
        "e\u0301.png",
        LONG + ".png",
        "é" * 125 + ".png",
        "[1] 'x' ~.png",
    ]
    for name in names:
        photo(n / name)
    done, calls = go(n, out=out)
    assert done.status == 0 and calls == 6
    assert "a\\nb.png: red 50 %" in done.err and "\\udcff\\udcfe.png: red" in done.err
    assert {os.fsencode(p.name) for p in out.glob("*.png")} == {os.fsencode(name) for name in names}
    for entry in report(out)["photographs"]:
        assert (out / entry["mask"]).is_file() and (out / entry["overlay"]).is_file()
        assert Path(entry["photograph"]).is_file()
    overlays = [
        name for name in os.listdir(out) if name.startswith("xxx") and name.endswith("_overlay.jpg")
    ]
    assert len(overlays) == 1 and len(overlays[0]) == 255 and "~" in overlays[0]
    assert go(n, out=out)[1] == 0


def test_names_that_do_not_fit_are_told_before_any_work(tmp_path: Path) -> None:
    photo(tmp_path / "n/a.png")
    photo(tmp_path / "long.png").rename(tmp_path / "n" / ("y" * 253))
    done, calls = go(tmp_path / "n/a.png", tmp_path / "n" / ("y" * 253), out=tmp_path / "out")
    assert (
        done.status == 2 and calls == 0 and "too long" in done.lines[-1] and "yyy" in done.lines[-1]
    )


def test_a_mask_is_not_called_like_a_folder_of_masks(tmp_path: Path) -> None:
    photo(tmp_path / "m/x.jpg")
    photo(tmp_path / "m/x.png/1.jpg")
    done, calls = go(tmp_path / "m", out=tmp_path / "out")
    assert done.status == 2 and calls == 0 and "called like the folder x.png" in done.lines[-1]


def test_upper_and_lower_case_on_a_file_system_that_ignores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "n/a.png")
    photo(tmp_path / "n/A.jpg")
    assert len({p.name.lower() for p in (tmp_path / "n").iterdir()}) == 2
    assert go(tmp_path / "n", out=tmp_path / "out")[0].status == (
        0 if sys.platform == "linux" else 2
    )
    monkeypatch.setattr("smaf.engine.predicting.result_files._ignores_case", lambda folder: True)
    done, calls = go(tmp_path / "n", out=tmp_path / "other")
    assert (
        done.status == 2 and calls == 0 and "does not tell upper from lower case" in done.lines[-1]
    )


@pytest.mark.parametrize(
    "text",
    [
        "red,green",
        "Red, GREEN",
        "['red', 'green']",
        '["Red"; "green"]',
        "red green",
        "background,red,green",
    ],
)
def test_labels_as_people_write_them(text: str) -> None:
    labels = Labels.read(text, Colours.class_names)
    assert labels.of(Path("a.png")) == [0, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gren", ("none of these is a class", "did you mean 'green'", "red, green")),
        ("zebra", ("none of these is a class", "red, green")),
        ("labels.csv", ("labels.csv does not exist",)),
        ("labels.xlsx", ("labels.xlsx does not exist",)),
        ("some/labels", ("some/labels does not exist",)),
        (".", ("--labels . is no file",)),
        (",".join(["zebra"] * 100), ("none of these is a class",)),
    ],
)
def test_labels_that_fit_nothing_are_an_error(
    text: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    done, calls = go(photo(tmp_path / "a.png"), out=tmp_path / "out", labels=text)
    assert done.status == 2 and calls == 0 and len(done.lines) == 1
    assert all(word in done.lines[0] for word in words)


def test_a_label_that_is_near_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smaf"):
        assert Labels.read("red,gren", Colours.class_names).of(Path("a.png")) == [0]
    assert "gren (did you mean 'green'?) ignored" in caplog.text


def test_a_table_and_a_tree(tmp_path: Path) -> None:
    n, table = tmp_path / "n", tmp_path / "t.csv"
    photo(n / "x/e\u0301.png")
    photo(n / "y/b.png")
    table.write_text("image,labels\n\u00e9.png,red\nb.png,\n", encoding="utf-8")
    done, _ = go(n, out=tmp_path / "out", labels=str(table))
    assert (
        done.status == 0
        and "b.png: background only: its labels name no class of the weights" in done.err
    )
    assert (read_mask(tmp_path / "out/x/e\u0301.png")[:, :8] == 1).all()
    photo(n / "x/b.png")
    done, calls = go(n, out=tmp_path / "out", labels=str(table))
    assert done.status == 2 and calls == 0 and "has one line for" in done.lines[-1]
    assert "x/b.png" in done.lines[-1] and "y/b.png" in done.lines[-1]


def test_overlays_of_large_photographs_are_smaller(tmp_path: Path) -> None:
    mask = np.zeros((30, 70_000), dtype=np.uint8)
    mask[:, :35_000] = 1
    # JPEG's own limit is 65,535
    picture = draw_overlay(Image.new("RGB", (70_000, 30)), mask, ("cat",), legend=False)
    write_overlay(tmp_path / "o.jpg", picture)
    with Image.open(tmp_path / "o.jpg") as overlay:
        assert overlay.size == (MAX_OVERLAY, 2) and overlay.getpixel((3000, 0)) == (0, 0, 0)
        assert overlay.getpixel((1000, 1)) != (0, 0, 0)


def test_maps_as_pictures_and_a_second_run(tmp_path: Path) -> None:
    n, out = tmp_path / "n", tmp_path / "out"
    photo(n / "x/a.png")
    photo(n / "b.png", (0, 255, 0))
    assert go(n, out=out)[1] == 2 and not list(out.rglob("*_cam_*"))
    done, calls = go(n, out=out, pictures=Pictures(cams=True))  # maps are not kept: made again
    assert done.status == 0 and calls == 2
    assert sorted(p.name for p in out.rglob("*_cam_*")) == ["a_cam_red.jpg", "b_cam_green.jpg"]
    entries = {entry["mask"]: entry for entry in report(out)["photographs"]}
    assert entries["x/a.png"]["cams"] == ["x/a_cam_red.jpg"]
    with Image.open(out / "x/a_cam_red.jpg") as picture:
        assert picture.size == (16, 12)
        left, right = (np.array(picture.convert("RGB"))[6, x].astype(int) for x in (3, 13))
    # half the photograph, half "turbo" of 1 and of what the map has at black
    turbo = np.array(matplotlib.colormaps["turbo"](1.0, bytes=True)[:3])
    assert np.abs(left - (np.array([255, 0, 0]) + turbo) / 2).max() < 12
    assert np.abs(left - right).max() > 60
    before = stamps(out / "x")
    assert go(n, out=out, pictures=Pictures(cams=True))[1] == 0 and stamps(out / "x") == before
    (out / "x/a_cam_red.jpg").unlink()
    assert go(n, out=out, pictures=Pictures(cams=True))[1] == 1
    assert go(n, out=out)[1] == 0 and (out / "x/a_cam_red.jpg").is_file()
    done, calls = go(out, out=tmp_path / "again")
    assert done.status == 2 and "masks and overlays of earlier predictions" in done.lines[-1]
    go(n, out=out, overwrite=True)
    assert not list(out.rglob("*_cam_*"))


def test_a_foreign_picture_is_not_replaced(tmp_path: Path) -> None:
    photo(tmp_path / "n/a.png")
    foreign = photo(tmp_path / "out/a_cam_red.jpg").read_bytes()
    done, _ = go(tmp_path / "n", out=tmp_path / "out", pictures=Pictures(cams=True))
    assert done.status == 2 and "a_cam_red.jpg, which the picture of a map would" in done.lines[-1]
    assert (tmp_path / "out/a_cam_red.jpg").read_bytes() == foreign


def test_names_of_maps(tmp_path: Path) -> None:
    one = Photograph(Path("p/a.jpg"), PurePath("p/a"))
    assert cam_names(tmp_path, one, ["cat", "traffic light", "a/b", "a b"]) == [
        "p/a_cam_cat.jpg",
        "p/a_cam_traffic_light.jpg",
        "p/a_cam_a_b_3.jpg",
        "p/a_cam_a_b_4.jpg",
    ]
    long = Photograph(Path("x.jpg"), PurePath("x" * 250))
    (name,) = cam_names(tmp_path, long, ["cat"])
    assert len(name) <= 255 and name.endswith("_cam_cat.jpg") and "~" in name


def test_a_page_of_predictions(tmp_path: Path) -> None:
    n, out = tmp_path / "n", tmp_path / "out"
    photo(n / "x/a.png")
    photo(n / "b.png", (0, 0, 255))  # no class
    assert go(n, out=out, pictures=Pictures(cams=True, report=True))[1] == 2
    text = (out / "report.html").read_text(encoding="utf-8")
    facts = json.loads(text.split('id="facts">')[1].split("</script>")[0])
    cards = {card["name"]: card for card in facts["cards"]}
    assert cards["x/a"]["classes"] == [0] and cards["b"]["classes"] == []
    assert cards["x/a"]["layers"] == ["mask", "cam"] and cards["b"]["layers"] == ["mask"]
    assert 0 < cards["x/a"]["quality"] <= 1 and cards["b"]["quality"] is None
    # of more than a page takes those of the lowest quality; none is the highest
    entries = json.loads((out / "predictions.json").read_text())["photographs"]
    write_predictions_page(out, entries, ["red"], "colours", most=1)
    text = (out / "report.html").read_text(encoding="utf-8")
    facts = json.loads(text.split('id="facts">')[1].split("</script>")[0])
    assert [card["name"] for card in facts["cards"]] == ["x/a"]
    assert "1 of 2 photographs are shown, those of the lowest" in text
    (n / "b.png").unlink()
    assert go(n, out=out, pictures=Pictures(report=True))[1] == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "Masks of 2 photographs by colours" in text  # one without its photograph
    (out / "report.html").write_text("mine")
    done, calls = go(n, out=out, pictures=Pictures(report=True))
    assert done.status == 2 and calls == 0 and "report.html, which this project did" in done.err
    assert (out / "report.html").read_text() == "mine"
