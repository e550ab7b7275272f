"""`smaf saliency`: what it writes, what it leaves as it is, how it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from saliency_graphs import ANY, PROPS, mean_graph
from small_set import PICTURES, Done, good, make_set, run, stage0, stamps

from smaf import saliency
from smaf.core.images import read_saliency
from smaf.core.saliency_maps import made_here
from smaf.engine.predicting.saliency_network import SaliencyNetwork


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The small data set without saliency maps, masks and labels."""
    root = make_set(tmp_path / "set", masks=False)
    for path in [*(root / "SALImages").iterdir(), root / "labels.csv"]:
        path.unlink()
    (root / "SALImages").rmdir()
    return root


@pytest.fixture
def isnet(tmp_path: Path) -> Path:
    """A network whose map is the photograph's brightness."""
    return mean_graph(tmp_path / "isnet-general-use.onnx", bias=0.5)


def make(root: Path, model: Path | str, *extra: object) -> Done:
    return run(saliency.main, "--data_root", root, "--list", "all", "--model", model, *extra)


def maps(root: Path) -> dict[str, np.ndarray]:
    return {
        path.stem: np.asarray(read_saliency(path)) for path in (root / "SALImages").glob("*.png")
    }


def test_maps_of_the_photographs_size(root: Path, isnet: Path) -> None:
    done = good(make(root, isnet))
    assert done.lines == [f"wrote 8 saliency maps to {root}/SALImages"]
    made = maps(root)
    assert {i: m.shape[::-1] for i, m in made.items()} == {i: p[:2] for i, p in PICTURES.items()}
    for image_id, values in made.items():
        path = root / "SALImages" / f"{image_id}.png"
        assert Image.open(path).mode == "L" and made_here(path)
        grey = np.asarray(Image.open(root / f"JPEGImages/{image_id}.jpg"), np.float32).mean(axis=2)
        small = Image.fromarray(grey).resize((32, 32), Image.Resampling.LANCZOS)
        expected = np.asarray(small.resize(values.shape[::-1], Image.Resampling.BILINEAR))
        assert np.abs(expected - values).max() <= 2  # 8 bits a channel, and a map
    (entry,) = json.loads((root / "SALImages/run.json").read_text())
    assert entry["finished"] and entry["settings"]["preset"] == "isnet"
    assert entry["settings"]["model"].startswith("sha256:")


def test_stage_0_trains_on_them(tmp_path: Path, isnet: Path) -> None:
    root = make_set(tmp_path / "set")
    (root / "SALImages").rename(root / "before")
    done = stage0(root, tmp_path / "eps", "--steps", 1)
    assert done.status == 2 and f"run `smaf saliency --data_root {root}`" in done.lines[-1]
    good(make(root, isnet))
    good(stage0(root, tmp_path / "eps", "--steps", 1))


def test_a_run_goes_on_where_it_stopped(root: Path, isnet: Path) -> None:
    good(make(root, isnet))
    folder, before, values = root / "SALImages", stamps(root / "SALImages"), maps(root)
    (folder / "p1.png").unlink()
    (folder / "p2.png").write_bytes((folder / "p2.png").read_bytes()[:-30])
    done = good(make(root, isnet))
    assert any("1 results in" in line and "p2.png" in line for line in done.lines)
    assert any("6 of 8 images are done" in line for line in done.lines)
    after = stamps(folder)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"p1.png", "p2.png", "run.json"}
    assert all(np.array_equal(values[i], m) for i, m in maps(root).items())


def test_another_network_in_the_same_folder_is_refused(
    root: Path, isnet: Path, tmp_path: Path
) -> None:
    good(make(root, isnet))
    other = mean_graph(tmp_path / "other.onnx", scale=-1, bias=0.5)
    before = stamps(root / "SALImages")
    done = make(root, other, "--preset", "isnet")
    assert done.status == 2 and "model was 'sha256:" in done.lines[-1]
    assert stamps(root / "SALImages") == before
    values = maps(root)
    good(make(root, other, "--preset", "isnet", "--overwrite"))
    # a half more or less: what was v is 255 - v, but for one grey level of rounding
    assert all(np.abs(255 - values[i] - m.astype(int)).max() <= 2 for i, m in maps(root).items())


@pytest.mark.parametrize("overwrite", [False, True])
def test_maps_of_another_program_stay(overwrite: bool, root: Path, isnet: Path) -> None:
    folder = root / "SALImages"
    folder.mkdir()
    theirs = [folder / name for name in ("p0.png", "p3.JPG", "p5.png", "evaluation_1.png")]
    for path in theirs:
        Image.new("L", (60, 48), 77).save(path, format="JPEG" if path.suffix == ".JPG" else "PNG")
    theirs[2].write_bytes(b"damaged")
    before = stamps(folder)
    extra = ("--overwrite",) if overwrite else ()
    for _ in range(2):
        done = good(make(root, isnet, *extra))
        (said,) = [line for line in done.lines if "did not make" in line]
        assert "3 of 8 photographs have maps" in said and ("move them away" in said) == overwrite
        after = stamps(folder)
        assert {name: after[name] for name in before} == before
        ours = {f"p{k}.png" for k in (1, 2, 4, 6, 7)}
        assert set(after) - set(before) == {*ours, "run.json"}
        assert all(made_here(folder / name) for name in ours)
        assert "wrote 5 saliency maps" in done.lines[-1]


def test_a_folder_of_another_programs_maps_is_not_touched(tmp_path: Path, isnet: Path) -> None:
    root = make_set(tmp_path / "set")
    before = stamps(root / "SALImages")
    done = good(make(root, isnet, "--overwrite"))
    assert "8 of 8 photographs have maps" in done.lines[-1]
    assert stamps(root / "SALImages") == before


def test_maps_that_came_without_their_record_are_taken_as_they_are(root: Path, isnet: Path) -> None:
    good(make(root, isnet))
    folder = root / "SALImages"
    (folder / "run.json").unlink()
    (folder / "p4.png").unlink()
    before = stamps(folder)
    good(make(root, isnet))
    after = stamps(folder)
    assert {name: after[name] for name in before} == before and "p4.png" in after


def test_photographs_are_turned_and_read_no_larger_than_needed(
    root: Path, isnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """800×400 pixels on their side: the map is 400×800, of a photograph unpacked at an eighth."""
    pixels = np.zeros((400, 800, 3), dtype=np.uint8)
    pixels[:, :400] = 255  # left on its side: above, once it is turned by 90° clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(root / "JPEGImages/p0.jpg", exif=exif)
    seen: list[tuple[int, int]] = []
    images = SaliencyNetwork.images

    def spy(self: SaliencyNetwork, photograph: Image.Image, size: Any) -> np.ndarray:
        seen.append(photograph.size)
        return images(self, photograph, size)

    monkeypatch.setattr(SaliencyNetwork, "images", spy)
    good(make(root, isnet))
    assert seen[0] == (100, 200) or (50, 100) in seen
    values = maps(root)["p0"]
    assert values.shape == (800, 400)
    assert values[:350].min() > 250 and values[450:].max() < 5


def test_the_aspect_is_kept_where_the_file_says_so(root: Path, tmp_path: Path) -> None:
    path = mean_graph(tmp_path / "own.onnx", ANY, scale=0.25, bias=0.5, props=PROPS)
    Image.new("RGB", (96, 32), (200, 200, 200)).save(root / "JPEGImages/p0.png")
    (root / "JPEGImages/p0.jpg").unlink()
    good(make(root, path))
    assert maps(root)["p0"].shape == (32, 96) and set(maps(root)["p0"].flat) == {200}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("logits", "try --preset birefnet"),
        ("NaN", "not finite"),
        ("name", "add --preset u2net"),
        ("damaged", "cannot be read as ONNX"),
        ("missing", "does not exist"),
        ("photograph", "p0.jpg cannot be read"),
        ("none", "p0.jpg does not exist"),
        ("preset", "invalid choice: 'u3net'"),
        ("device", "invalid choice: 'cuda'"),
    ],
)
def test_what_does_not_serve_is_one_line_and_leaves_nothing(
    fault: str, words: str, root: Path, tmp_path: Path
) -> None:
    nodes = [("Sqrt", "map", "y")] if fault == "NaN" else []
    name = "any.onnx" if fault == "name" else "isnet-general-use.onnx"
    bias = {"logits": 7.0, "NaN": -7.0}.get(fault, 0.5)
    path = mean_graph(tmp_path / name, bias=bias, nodes=nodes)
    if fault in {"damaged", "photograph"}:
        (path if fault == "damaged" else root / "JPEGImages/p0.jpg").write_bytes(b"damaged")
    if fault in {"missing", "none"}:
        (path if fault == "missing" else root / "JPEGImages/p0.jpg").unlink()
    extra = {"preset": ("--preset", "u3net"), "device": ("--device", "cuda")}.get(fault, ())
    done = make(root, path, *extra)
    assert done.status == 2 and len(done.lines) == 1 and words in done.lines[0], done.err
    assert not (root / "SALImages").exists()


def test_a_network_that_says_the_same_of_all_is_told(root: Path, tmp_path: Path) -> None:
    path = mean_graph(tmp_path / "u2net.onnx", scale=0, bias=0.25)
    done = good(make(root, path))
    (said,) = [line for line in done.lines if line.startswith("warning: ")]
    assert said.startswith("warning: all 8 maps are all black or all white")
    assert f"{path} may be no saliency network" in said
    done = good(make(root, path))  # none was made now
    assert not any(line.startswith("warning: ") for line in done.lines)


@pytest.mark.slow
def test_two_processes_share_the_list(root: Path, isnet: Path, tmp_path: Path) -> None:
    good(make(root, isnet))
    out = tmp_path / "two"
    words = ("--data_root", root, "--list", "all", "--model", isnet, "--out", out)
    done = subprocess.run(
        [sys.executable, "-m", "smaf.launch", "2", "saliency", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wrote 8 saliency maps") == 1
    for image_id in PICTURES:
        one, two = ((f / f"{image_id}.png").read_bytes() for f in (root / "SALImages", out))
        assert one == two
