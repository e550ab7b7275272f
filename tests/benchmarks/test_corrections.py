"""The curve of corrected photographs: which are chosen, what each point is trained on, its file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from run_set import write_recipe
from small_set import make_set, stamps

from smaf.core.errors import InputError
from smaf.data.layout import open_data
from smaf.data.pointers import write_files, write_pointers
from smaf.engine.reporting.correction_curve import read_corrections

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "corrections.py"


@pytest.fixture(scope="module")
def corrections() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("corrections", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_worst_come_first(corrections: ModuleType, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    (root / "SegmentationClassAug/p3.png").unlink()
    quality = {"p0": 0.9, "p1": 0.2, "p3": 0.0, "p4": 0.2, "p6": 0.1}
    data = open_data(root)
    ids = data.ids("train")
    assert corrections.worst_first(data, ids, quality, 0) == ["p1", "p4", "p0"]
    drawn = corrections.worst_first(data, ids, {}, 7)
    assert sorted(drawn) == ["p0", "p1", "p2", "p4", "p5"]
    assert corrections.worst_first(data, ids, {}, 7) == drawn


def test_a_point_has_a_data_set_of_its_own(corrections: ModuleType, tmp_path: Path) -> None:
    """Photographs that lie elsewhere are found from it, too."""
    root = make_set(tmp_path / "a" / "set")
    (root / "JPEGImages").rename(tmp_path / "a/photographs")
    rows = [(f"p{n}", f"p{n}.jpg", "") for n in range(8)]
    write_files(root, rows, masks=False)
    write_pointers(root, "../photographs", None)
    folder = corrections.corrected_set(open_data(root), ["p1", "p2"], tmp_path / "b/c/data")
    data = open_data(folder)
    assert data.corrected_ids(data.ids("train")) == ["p1", "p2"]
    assert data.photo("p0").size == (60, 48)
    assert (data.corrected("p1") == data.mask("p1")).all()
    corrections.corrected_set(open_data(root), ["p2"], folder)
    assert open_data(folder).corrected_ids(["p1", "p2"]) == ["p2"]
    assert not (root / "CorrectedMasks").exists()


@pytest.mark.slow
def test_the_curve(
    corrections: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = make_set(tmp_path / "set"), tmp_path / "run"
    run.mkdir()
    (run / "quality.csv").write_text("image,quality\np0,0.5\np3,0.1\np1,0.2\n")
    words = ["--data_root", root, "--run", run, "--out", tmp_path / "out", "--train_on", "train"]
    words += ["--recipe", write_recipe(tmp_path / "recipe"), "--device", "cpu"]
    words += ["--num_workers", "0", "--threshold", "0.01", "--copy_to_run"]
    argv = [*map(str, words), "--counts", "2", "0"]
    corrections.main(argv)
    found = json.loads((run / "corrections.json").read_text())
    assert found == json.loads((tmp_path / "out/corrections.json").read_text())
    rows = found.pop("rows")
    curve = read_corrections(run / "corrections.json")  # as the report does
    assert curve.counts == (0, 2) and curve.told().startswith("mIoU on the 2 photographs of list v")
    assert curve.mious["masks"] == tuple(row["masks"] / 100 for row in rows)
    assert found == {
        "n": [0, 2],
        "list": "val",
        "photographs": 2,
        "trained_on": 6,
        "chosen": "lowest quality",
        "seed": 1337,
        "threshold": 0.01,
    }
    assert [row["n"] for row in rows] == [0, 2]
    for row in rows:
        for name in ("masks", "blind", "known"):
            scores = json.loads((tmp_path / f"out/n_{row['n']}/{name}.json").read_text())
            key = {"masks": "masks", "blind": "network", "known": "network_known"}[name]
            assert row[key] == 100 * scores["miou"] and scores["images"] == 2
    corrected = {p.name for p in (tmp_path / "out/n_2/data/CorrectedMasks").iterdir()}
    assert corrected == {"p3.png", "p1.png"}
    settings = [
        json.loads((tmp_path / f"out/n_{n}/{stage}/run.json").read_text())[-1]["settings"]
        for n in (0, 2)
        for stage in ("proda_model", "segmenter")
    ]
    assert [one["corrected"] for one in settings] == [False, False, True, True]
    assert settings[0]["weights"] == settings[2]["weights"]  # a common start
    table = (tmp_path / "out/corrections.md").read_text()
    assert f"| 2 | {rows[1]['masks']:.1f} |" in table and table in capsys.readouterr().out
    assert len(list((run / "cam_refined").glob("*.npz"))) == 6  # the start was made, once
    before, start = stamps(tmp_path / "out/n_2/proda_model"), stamps(run / "cam_refined")
    corrections.main(argv)
    assert stamps(tmp_path / "out/n_2/proda_model") == before
    assert stamps(run / "cam_refined") == start
    assert json.loads((run / "corrections.json").read_text())["rows"] == rows
    (run / "quality.csv").write_text("image,quality\np0,0.0\np3,0.1\np1,0.2\n")
    with pytest.raises(InputError, match="n_2 was made with other photographs or settings"):
        corrections.main(argv)
    with pytest.raises(InputError, match="--counts 4: 3 photographs of list train have a true mas"):
        corrections.main([*argv, "4"])
