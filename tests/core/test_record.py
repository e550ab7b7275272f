"""The run record names what changed between two runs, and keeps every run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smaf.core.errors import InputError
from smaf.core.record import RECORD, RunRecord

SETTINGS = {
    "lr": 0.01,
    "scales": (0.5, 1.0),
    "weights": Path("a/b.pth"),
    "flip": True,
    "label": None,
}


def test_a_folder_without_a_record_is_free(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, SETTINGS)
    assert record.previous() is None
    record.check_same()


def test_the_record_holds_what_was_run(tmp_path: Path) -> None:
    RunRecord(tmp_path, SETTINGS).write(finished=False)
    record = RunRecord(tmp_path, SETTINGS)
    record.check_same()  # tuples and paths are the same after JSON
    record.write(finished=False)
    record.write(finished=True, images=7)
    runs = json.loads((tmp_path / RECORD).read_text())
    assert [run["finished"] for run in runs] == [False, True] and runs[1]["images"] == 7
    assert runs[1]["settings"] == {
        "lr": 0.01,
        "scales": [0.5, 1.0],
        "weights": "a/b.pth",
        "flip": True,
        "label": None,
    }
    assert {"smaf", "python", "torch", "numpy"} <= set(runs[1]["versions"]) and runs[1]["command"]
    assert record.previous() == runs[1]


def test_changed_settings_are_named(tmp_path: Path) -> None:
    RunRecord(tmp_path, SETTINGS).write(finished=True)
    with pytest.raises(InputError) as caught:
        RunRecord(tmp_path, {**SETTINGS, "lr": 0.1, "scales": (1.0,)}).check_same()
    message = str(caught.value)
    assert (
        "lr was 0.01, is 0.1; scales was [0.5, 1.0], is [1.0]" in message
        and "--overwrite" in message
    )
    assert "flip" not in message and str(tmp_path) in message
    # An option that the other version does not have is not compared
    RunRecord(tmp_path, {**SETTINGS, "seed": 3}).check_same()
    RunRecord(
        tmp_path, {key: value for key, value in SETTINGS.items() if key != "flip"}
    ).check_same()
    RunRecord(tmp_path, {**SETTINGS, "lr": 0.1}, free=("lr",)).check_same()
    RunRecord(tmp_path, {**SETTINGS, "lr": 0.1}).check_same(but=("lr",))


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    for text in ("{", "", '{"settings": 1}', "[1]", '[{"settings": [1]}]', "3"):
        (tmp_path / RECORD).write_text(text)
        record = RunRecord(tmp_path, SETTINGS)
        with pytest.raises(InputError, match=r"run record .*run\.json .*--overwrite"):
            record.check_same()
        with pytest.raises(InputError, match=r"run record .*run\.json"):
            record.write(finished=True)


def test_records_of_earlier_versions_are_without_saliency_and_decoder(tmp_path: Path) -> None:
    RunRecord(tmp_path, SETTINGS).write(finished=True)
    RunRecord(tmp_path, {**SETTINGS, "saliency_weight": 0.0, "masks_by": "classifier"}).check_same()
    with pytest.raises(InputError, match=r"saliency_weight was 0\.0, is 0\.6"):
        RunRecord(tmp_path, {**SETTINGS, "saliency_weight": 0.6}).check_same()
    RunRecord(tmp_path, {**SETTINGS, "decoder": False}).check_same()
    with pytest.raises(InputError, match="decoder was False, is True"):
        RunRecord(tmp_path, {**SETTINGS, "decoder": True}).check_same()
