"""Photographs of predictions that have moved: page and export find them from any working folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_set import Done, good, run
from test_predictions import go, photo, report

from smaf import export
from smaf.core.checksums import contents
from smaf.engine.predicting.found_again import gone_of, photograph_of, places_of
from smaf.engine.predicting.predictions_page import write_predictions_page
from smaf.engine.predicting.result_files import Pictures

PAGE = Pictures(report=True)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a.png and b.png were predicted by relative paths, then another one."""
    work = tmp_path / "work"
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 255, 0))):
        photo(work / f"photos/{name}.png", colour)
    monkeypatch.chdir(work)
    assert go("photos", out=Path("predictions"), pictures=PAGE)[1] == 2
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return work


def as_before(folder: Path) -> None:
    """The record as version 0.8 wrote it."""
    record = report(folder)
    for entry in record["photographs"]:
        del entry["absolute"], entry["relative"]
    (folder / "predictions.json").write_text(json.dumps(record))


def page(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """The cards of a folder's page made anew, their pictures, and the whole text."""
    write_predictions_page(folder, report(folder)["photographs"], ["red", "green"], "colours")
    text = (folder / "report.html").read_text(encoding="utf-8")
    facts, pictures = (
        json.loads(text.split(f'id="{name}">')[1].split("</script>")[0])
        for name in ("facts", "pictures-0")
    )
    return facts["cards"], pictures, text


def exported(folder: Path, out: Path) -> Done:
    return run(export.main, folder, "--to", "cvat", "--out", out)


def test_the_record_says_where_photographs_lie(there: Path) -> None:
    entry = report(there / "predictions")["photographs"][0]
    assert entry["photograph"] == os.path.join("photos", "a.png")
    assert entry["absolute"] == os.path.join(os.path.realpath(there), "photos", "a.png")
    assert entry["relative"] == "../photos/a.png"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("moved", ["nothing", "all", "predictions"])
def test_from_any_working_folder(old: bool, moved: str, there: Path, tmp_path: Path) -> None:
    folder = there / "predictions"
    if old:
        as_before(folder)
    if moved == "all":
        folder = there.rename(tmp_path / "moved") / "predictions"
    elif moved == "predictions":
        folder = folder.rename(tmp_path / "elsewhere/predictions")
    lost = old and moved == "predictions"  # a path from a working folder that nothing names
    cards, pictures, text = page(folder)
    assert [card["name"] for card in cards] == ["a", "b"]
    assert [card["fault"] for card in cards] == 2 * ["the photograph is gone" if lost else ""]
    assert all(picture["mask"] for picture in pictures)
    assert all((picture["photo"] is None) == lost for picture in pictures)
    done = exported(folder, tmp_path / "out")
    if lost:
        first = os.path.join("photos", "a.png")
        assert done.status == 2 and len(done.lines) == 1
        assert f"2 of 2 photographs are gone, {first} first: put them back" in done.lines[0]
        assert f"2 of 2 photographs are not where they were predicted, {first} first" in text
    else:
        good(done)
        assert sorted(os.listdir(tmp_path / "out/images")) == ["a.png", "b.png"]


def test_those_that_are_gone_are_counted_and_the_others_kept(
    there: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (there / "photos/b.png").unlink()
    first = os.path.join("photos", "b.png")
    cards, pictures, text = page(there / "predictions")
    told = f"1 of 2 photographs is not where it was predicted, {first} first"
    assert told in text and [told in line for line in caplog.messages] == [True]
    assert [card["fault"] for card in cards] == ["", "the photograph is gone"]
    assert pictures[1]["photo"] is None and pictures[1]["mask"].startswith("data:image/png")
    done = good(exported(there / "predictions", tmp_path / "out"))
    warnings = [line for line in done.lines if line.startswith("warning")]
    assert len(warnings) == 1 and f"1 of 2 photographs is gone, {first} first" in warnings[0]
    assert os.listdir(tmp_path / "out/images") == ["a.png"]
    assert done.out.startswith("exported 1 masks")


def test_another_photograph_of_that_name_is_not_taken(there: Path, tmp_path: Path) -> None:
    as_before(there / "predictions")
    shutil.move(there / "photos", tmp_path / "kept")
    photo(tmp_path / "elsewhere/photos/a.png", (0, 0, 255))  # from the working folder
    entry = report(there / "predictions")["photographs"][0]
    assert photograph_of(entry, there / "predictions") is None
    shutil.copy(tmp_path / "kept/a.png", tmp_path / "elsewhere/photos/a.png")
    found = photograph_of(entry, there / "predictions")
    assert found is not None and contents(found) == entry["contents"]
    assert str(gone_of(report(there / "predictions")["photographs"], there / "predictions")) == (
        f"1 of 2 photographs is not where it was predicted, {os.path.join('photos', 'b.png')} "
        "first: put it back, or predict it where it is now"
    )


def test_predicting_where_they_are_now_mends_the_record(there: Path, tmp_path: Path) -> None:
    """Nothing is predicted again; the record says where they lie since."""
    now = (there / "photos").rename(tmp_path / "now")
    done, calls = go(now, out=there / "predictions", pictures=PAGE)
    assert calls == 0 and "2 of 2 photographs are done" in done.err
    assert "not where" not in done.err
    cards, _, _ = page(there / "predictions")
    assert [card["fault"] for card in cards] == ["", ""]
    assert [card["also"] for card in cards] == [str(now / "a.png"), str(now / "b.png")]


def test_a_damaged_photograph_has_a_card(there: Path) -> None:
    (there / "photos/a.png").write_bytes(b"damaged")
    cards, pictures, _ = page(there / "predictions")
    assert cards[0]["fault"] == "the photograph cannot be read" and pictures[0]["photo"] is None
    assert cards[1]["fault"] == "" and pictures[1]["photo"] is not None


def test_places_through_links(tmp_path: Path) -> None:
    photo(tmp_path / "disk/a.png")
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/y/link").symlink_to(tmp_path / "disk", target_is_directory=True)
    places = places_of(tmp_path / "x/y/link/a.png", tmp_path / "out")
    assert places["relative"] == "../disk/a.png"
    assert places["absolute"] == os.path.join(os.path.realpath(tmp_path / "disk"), "a.png")
    found = photograph_of({"photograph": "z", **places}, tmp_path / "out")
    assert found == Path(places["absolute"])
