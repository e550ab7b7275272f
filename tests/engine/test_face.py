"""The face for Python: the masks of `smaf predict`, results as arrays, files and pictures, and
errors of the right kind."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import CLASSES, PICTURES, run

import smaf
from smaf import predict
from smaf.core.errors import InputError
from smaf.core.images import read_image, read_mask
from smaf.core.views import Views
from smaf.engine.predicting.face import LoadedNetwork
from smaf.engine.predicting.saliency_network import SHIPPED, SaliencyWeight, open_saliency
from smaf.models import PredictSettings, build_classifier, write_checkpoint
from smaf.ops import crf_cams, refined_mask

SETTINGS = PredictSettings(Views((1.0, 2.0), long_side=64), background=0.4, score=0.3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", num_classes=3, head="eps")
    with torch.no_grad():
        model.fc8.weight *= 100  # maps that are not flat
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    write_checkpoint(path, model, CLASSES, predict=SETTINGS)
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> LoadedNetwork:
    return smaf.load(weights, device="cpu")


@pytest.fixture()
def photo(small: Path) -> Path:
    return small / "JPEGImages" / f"{sorted(PICTURES)[0]}.jpg"


def test_importing_the_package_takes_a_blink_and_loads_neither_numpy_nor_torch() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import smaf; t = time.perf_counter() - t; "
        "assert callable(smaf.load) and smaf.__version__; "
        "print(t, *sorted({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = done.stdout.split()
    assert not loaded and float(seconds) < 0.3


@pytest.mark.parametrize("labels", [(CLASSES[0], CLASSES[2]), None], ids=str)
def test_mask_and_files_are_those_of_the_command(
    weights: Path,
    network: LoadedNetwork,
    photo: Path,
    tmp_path: Path,
    labels: tuple[str, ...] | None,
) -> None:
    given = [] if labels is None else ["--labels", ",".join(labels)]
    out, mine = tmp_path / "command", tmp_path / "mine"
    done = run(predict.main, photo, "--weights", weights, "--out", out, "--device", "cpu", *given)
    assert done.status == 0, done.err
    result = network(photo, labels=labels)
    assert result.mask.dtype == np.uint8
    assert (read_mask(out / f"{photo.stem}.png") == result.mask).all()
    assert result.save(mine) == mine / f"{photo.stem}.png"
    names = sorted(path.name for path in mine.iterdir())
    assert names == [f"{photo.stem}.png", f"{photo.stem}_overlay.jpg"]
    for name in names:
        assert (mine / name).read_bytes() == (out / name).read_bytes()


def test_a_path_an_image_and_an_array_are_one_photograph(
    network: LoadedNetwork, photo: Path
) -> None:
    image = read_image(photo)
    first = network(str(photo), labels=CLASSES)
    for other in (photo, image, np.asarray(image), np.asarray(image)[:, ::-1][:, ::-1]):
        assert (network(other, labels=CLASSES).mask == first.mask).all()
    white = Image.new("RGB", (32, 32), "white")
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    for picture in (white, clear):
        picture.putpixel((5, 3), (0, 0, 255))
    assert (np.asarray(network(clear).photo) == np.asarray(white)).all()
    assert network(Image.new("L", (32, 32), 7)).photo.getpixel((3, 3)) == (7, 7, 7)


def test_results_name_classes_scores_and_maps(network: LoadedNetwork, photo: Path) -> None:
    result = network(photo, labels=[CLASSES[2], CLASSES[0], "background"], crf=False)
    w, h = result.photo.size
    assert result.classes == (CLASSES[0], CLASSES[2]) == tuple(result.scores) == tuple(result.maps)
    for name, plane in result.maps.items():
        assert plane.shape == (h, w) == result.mask.shape and plane.dtype == np.float32
        assert plane.min() >= 0 and plane.max() == pytest.approx(1, abs=1e-3)
        assert 0 <= result.scores[name] <= 1
    # As stage 3 decides: the largest map that exceeds the background threshold
    planes = np.stack([np.full((h, w), SETTINGS.background), *result.maps.values()])
    expected = np.array([0, 1, 3])[planes.argmax(axis=0)]
    assert (expected == result.mask).mean() > 0.999
    assert re.fullmatch(
        rf"<Result of {photo.stem}, {w}×{h}: {CLASSES[0]} [01]\.\d\d, {CLASSES[2]} [01]\.\d\d>",
        repr(result),
    )
    empty = network(photo, labels=[])
    assert empty.maps == {} and not empty.mask.any() and "background only" in repr(empty)
    everything = network(photo, score=1e-6)
    assert everything.classes == CLASSES and network(photo, score=0.999999).classes == ()


def test_settings_of_a_call(network: LoadedNetwork, photo: Path) -> None:
    shown = network(photo, score=1e-6)
    least = min(float((shown.mask == c + 1).mean()) for c in range(3))
    fewer = network(photo, score=1e-6, min_share=least + 1e-3)
    assert set(fewer.classes) < set(shown.classes)
    wide, narrow = (network(photo, CLASSES, threshold=t).mask for t in (0.05, 0.9))
    assert (wide > 0).mean() > (narrow > 0).mean()
    one = network(photo, CLASSES, views=Views((1.0,), flip=False)).maps[CLASSES[0]]
    assert np.abs(one - network(photo, CLASSES).maps[CLASSES[0]]).max() > 1e-3
    with_crf, without = (network(photo, CLASSES, **crf).maps for crf in ({}, {"crf": False}))
    assert sum(with_crf.values()).max() <= 1 + 1e-5 < sum(without.values()).max()  # probabilities


def test_overlay_and_picture_for_notebooks(network: LoadedNetwork, photo: Path) -> None:
    result = network(photo, labels=[CLASSES[0]])
    assert (result.mask == 1).any()
    plain, named = result.overlay(legend=False), result.overlay()
    assert plain.size == result.photo.size and named.width == plain.width
    assert named.height > plain.height
    assert (np.asarray(named)[: plain.height] == np.asarray(plain)).all()
    shown = Image.open(io.BytesIO(result._repr_png_()))
    assert shown.format == "PNG" and (np.asarray(shown) == np.asarray(named)).all()
    large = network(Image.new("RGB", (3000, 60)), labels=[])
    assert Image.open(io.BytesIO(large._repr_png_())).size == (1024, 20)


def test_images_need_a_name_to_be_saved_and_foreign_files_stay(
    network: LoadedNetwork, photo: Path, tmp_path: Path
) -> None:
    result = network(read_image(photo), labels=[CLASSES[0]])
    for name in (None, "", "a/b", "..", "."):
        with pytest.raises(InputError, match="name='photo'"):
            result.save(tmp_path, name=name)
    assert not any(tmp_path.iterdir())
    for _ in range(2):  # a result may be replaced
        assert result.save(str(tmp_path), name="one") == tmp_path / "one.png"
    Image.new("RGB", (4, 4)).save(tmp_path / "two.png")
    before = (tmp_path / "two.png").read_bytes()
    with pytest.raises(InputError, match=r"two\.png is there"):
        result.save(tmp_path, name="two")
    assert (tmp_path / "two.png").read_bytes() == before


def test_unknown_labels_propose_the_nearest(network: LoadedNetwork, photo: Path) -> None:
    wrong = CLASSES[1] + "s"
    with pytest.raises(InputError, match=f"'{wrong}' is no class.*{CLASSES[1]}"):
        network(photo, labels=[wrong])
    assert network(photo, labels=iter([CLASSES[1].upper()])).classes == (CLASSES[1],)


@pytest.mark.parametrize(
    ("photo", "labels", "error", "text"),
    [
        (5, None, TypeError, "got int"),
        (None, None, TypeError, "got NoneType"),
        ([[0, 0, 0]], None, TypeError, "got list"),
        (np.zeros((8, 8, 3), np.float32), None, TypeError, "array of float32"),
        (np.zeros((8, 8), np.uint8), None, ValueError, r"got \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), None, ValueError, r"got \(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), None, ValueError, r"got \(0, 8, 3\)"),
        (Image.new("I;16", (8, 8)), None, ValueError, "more than 8 bits"),
        (Image.new("RGB", (0, 8)), None, ValueError, "at least one pixel"),
        ("no/such.jpg", None, FileNotFoundError, "no/such.jpg"),
        (np.zeros((8, 8, 3), np.uint8), "cat", TypeError, "a list of class names"),
        (np.zeros((8, 8, 3), np.uint8), [1], TypeError, "a list of class names"),
        (np.zeros((8, 8, 3), np.uint8), 1, TypeError, "a list of class names"),
        (np.zeros((8, 8, 3), np.uint8), {"cat": 1}, TypeError, "a list of class names"),
    ],
)
def test_errors(
    network: LoadedNetwork, photo: object, labels: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        network(photo, labels)  # type: ignore[arg-type]


def test_values_out_of_range(network: LoadedNetwork) -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    for name, value in (("threshold", 0.0), ("threshold", 1.0), ("score", -1.0), ("score", 2)):
        with pytest.raises(ValueError, match=f"{name} .*between 0 and 1"):
            network(black, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"min_share 1\.5: expected a value from 0 to 1"):
        network(black, min_share=1.5)


def test_saliency_before_crf(weights: Path, photo: Path, tmp_path: Path) -> None:
    """Salient pixels multiply the classes' values, with numbers; the command makes the same."""
    network = smaf.load(weights, device="cpu")
    image, size = read_image(photo), read_image(photo).size
    salient = SaliencyWeight(open_saliency(SHIPPED), 2.0).map(image, size)
    assert salient.shape == size[::-1] and salient.min() >= 0 and salient.max() > 0.6
    fused = network(photo, labels=CLASSES[:1], crf=False).maps[CLASSES[0]]
    refined = crf_cams(image, {0: fused}, background=0.97, saliency=salient, saliency_weight=2.0)
    result = network(photo, labels=CLASSES[:1], crf=True, threshold=0.97, saliency_weight=2.0)
    assert np.array_equal(result.mask, refined_mask(refined, size[::-1]))
    plain = network(photo, labels=CLASSES[:1], crf=True, threshold=0.97)
    assert (result.mask > 0).sum() > (plain.mask > 0).sum()
    words = ("--weights", weights, "--device", "cpu", "--labels", CLASSES[0], "--threshold", 0.97)
    out = tmp_path / "out"
    done = run(predict.main, photo, *words, "--crf", "--saliency_weight", 2.0, "--out", out)
    assert done.status == 0, done.err
    assert np.array_equal(read_mask(out / f"{photo.stem}.png"), result.mask)
    record = json.loads((out / "predictions.json").read_text())
    assert record["saliency_weight"] == 2.0
    words = (*words, "--saliency_weight", 2.0)
    done = run(predict.main, photo, *words, "--no_crf", "--out", tmp_path / "b")
    assert done.status == 2 and "leave --no_crf out" in done.lines[0]
    with pytest.raises(ValueError, match="ask for crf"):
        network(photo, crf=False, saliency_weight=2.0)
    with pytest.raises(ValueError, match="above 0"):
        network(photo, crf=True, saliency_weight=-1.0)


def test_loading(weights: Path, tmp_path: Path) -> None:
    assert repr(smaf.load(weights, device="cpu")).startswith("<classifier ")
    with pytest.raises(FileNotFoundError, match="did you mean 'animals_lite0'"):
        smaf.load("animal_lite0")
    with pytest.raises(TypeError, match="got int"):
        smaf.load(5)  # type: ignore[arg-type]
    (tmp_path / "w.pth").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"w\.pth"):
        smaf.load(tmp_path / "w.pth")


def test_shipped_networks(photo: Path) -> None:
    network = smaf.load("animals_lite0_seg")
    assert "segmentation network" in repr(network) and "cat" in network.class_names
    few, many = (network(photo, ["cat"], threshold=t, crf=False).mask for t in (0.9, 0.1))
    assert 0 < np.count_nonzero(few) < np.count_nonzero(many)
    result = network(photo, labels=["cat"])
    assert set(np.unique(result.mask)) <= {0, 1}
    # A pixel is cat where its map, divided by its maximum, exceeds the network's threshold
    assert network.settings.background == 0.38 and result.maps["cat"].max() > 0.999
    assert ((result.maps["cat"] > 0.38) == (result.mask == 1)).mean() > 0.999


def test_the_command_draws_legends_unless_told_otherwise(
    weights: Path, photo: Path, tmp_path: Path
) -> None:
    """Without a legend the overlay alone is drawn again: the mask is not touched."""
    masks, sizes, times = [], [], []
    for options in ((), (), ("--no_legend",), ("--no_legend",)):
        arguments = (photo, "--weights", weights, "--out", tmp_path, "--labels", CLASSES[0])
        done = run(predict.main, *arguments, "--device", "cpu", *options)
        assert done.status == 0, done.err
        masks.append((tmp_path / f"{photo.stem}.png").read_bytes())
        times.append((tmp_path / f"{photo.stem}.png").stat().st_mtime_ns)
        with Image.open(tmp_path / f"{photo.stem}_overlay.jpg") as overlay:
            sizes.append(overlay.size)
    assert len(set(masks)) == len(set(times)) == 1
    w, h = read_image(photo).size
    assert sizes[2] == sizes[3] == (w, h) and sizes[0] == sizes[1] and sizes[0][1] > h


def test_a_folder_of_version_0_4_takes_more_photographs(
    weights: Path, photo: Path, tmp_path: Path
) -> None:
    """Its overlays have no legend, and stay so; a legend is no setting of the masks."""
    out, other = tmp_path / "out", Path(shutil.copy(photo, tmp_path / "other.jpg"))
    options = ("--weights", weights, "--out", out, "--labels", CLASSES[0], "--device", "cpu")
    assert run(predict.main, photo, *options, "--no_legend").status == 0
    record = json.loads((out / "predictions.json").read_text())
    assert record["photographs"][0].pop("legend") is False and "legend" not in record["settings"]
    (out / "predictions.json").write_text(json.dumps(record))
    before = (out / f"{photo.stem}_overlay.jpg").read_bytes()
    done = run(predict.main, other, *options)
    assert done.status == 0, done.err
    assert (out / f"{photo.stem}_overlay.jpg").read_bytes() == before
    entries = json.loads((out / "predictions.json").read_text())["photographs"]
    assert [entry.get("legend") for entry in entries] == [True, None]


def test_what_is_transparent_everywhere_is_no_photograph(weights: Path) -> None:
    with pytest.raises(ValueError, match="transparent everywhere"):
        smaf.load(weights)(Image.new("RGBA", (64, 48), (9, 9, 9, 0)))
