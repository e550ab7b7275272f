"""`smaf predict`: files, values, labels, scores, and what it says of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import CLASSES, PICTURES, good, needs_export, run

from smaf import predict
from smaf.core.images import read_mask, voc_palette
from smaf.core.views import ONE_VIEW, Views
from smaf.engine.predicting import shipped_weights
from smaf.engine.predicting.onnx_network import OnnxNetwork
from smaf.engine.predicting.photographs import find_photographs
from smaf.engine.predicting.predictor import Predictor
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.models import LIGHT, PredictSettings, build_classifier, read_checkpoint, write_checkpoint
from smaf.models.export import export_onnx
from smaf.ops import crf_cams, fuse_cams, mean_maps, normalise_maps, peak_scores

SETTINGS = PredictSettings(Views((1.0, 2.0), long_side=64), background=0.4, score=0.3)


class Colours:
    """Two classes: red and green, background where neither is bright. Four pixels a cell."""

    class_names, mean, std = ("red", "green"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    segments = False

    def cam(self, images: np.ndarray) -> np.ndarray:
        n, _, h, w = images.shape
        cells = images.reshape(n, 3, h // 4, 4, w // 4, 4).mean(axis=(3, 5))
        return 8.0 * np.concatenate([cells[:, :2], np.zeros_like(cells[:, :1])], axis=1)


def predicted(
    predictor: Predictor, photo: Image.Image, labels: list[int] | None = None
) -> tuple[np.ndarray, dict[int, float]]:
    prediction = predictor(photo, labels)
    return prediction.mask, prediction.scores


def red_left() -> Image.Image:
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:, :32, 0] = 255
    return Image.fromarray(pixels)


@pytest.fixture()
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", num_classes=3, head="eps")
    write_checkpoint(tmp_path / "w.pth", model, CLASSES, predict=SETTINGS, half=True)
    return tmp_path / "w.pth"


def report(out: Path) -> dict:
    return json.loads((out / "predictions.json").read_text())


def test_scores_and_masks_by_hand() -> None:
    """Red fills the left half: softmax(8, -8, 0) there, (-8, -8, 0) on the right."""
    settings = PredictSettings(Views((1.0,)), background=0.4, score=0.5)
    predictor = Predictor(Colours(), settings)
    maps = mean_maps(
        Colours().cam, red_left(), mean=Colours.mean, std=Colours.std, views=Views((1.0,))
    )
    high = np.exp(8.0) / (np.exp(8.0) + 1.0 + np.exp(-8.0))
    assert maps.shape == (2, 48, 64)
    assert float(maps[0, 20, 10]) == pytest.approx(high, abs=1e-6) and float(maps[1].max()) < 1e-3
    assert peak_scores(maps)[0] == pytest.approx(high, abs=1e-6)
    mask, scores = predicted(predictor, red_left())
    assert list(scores) == [0] and scores[0] == pytest.approx(high, abs=1e-5)
    assert mask.dtype == np.uint8 and (mask[:, :30] == 1).all() and (mask[:, 34:] == 0).all()
    mask, scores = predicted(
        predictor, red_left(), [1]
    )  # the user says green: its map alone counts, and it is scored
    assert list(scores) == [1] and scores[1] < 1e-3 and 1 not in mask
    mask, scores = predicted(predictor, red_left(), [])
    assert scores == {} and not mask.any()


def test_peak_score_is_the_mean_of_the_strongest_hundredth() -> None:
    maps = np.zeros((2, 20, 20))
    maps[0, 0, :4] = 1.0, 0.8, 0.6, 0.4
    maps[1, 5, 5] = 0.4
    assert peak_scores(maps).tolist() == pytest.approx([0.7, 0.1])
    assert peak_scores(np.full((1, 2, 2), 0.3)).tolist() == pytest.approx([0.3])


def test_files_of_a_folder(small: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        predict.main,
        small / "JPEGImages",
        "--weights",
        weights,
        "--out",
        out,
        "--labels",
        small / "labels.csv",
        "--device",
        "cpu",
    )
    assert done.status == 0, done.err
    names = (
        {f"{i}.png" for i in PICTURES}
        | {f"{i}_overlay.jpg" for i in PICTURES}
        | {"predictions.json"}
    )
    assert {path.name for path in out.iterdir()} == names
    said = report(out)
    assert said["classes"] == ["background", *CLASSES] and len(said["photographs"]) == len(PICTURES)
    for entry in said["photographs"]:
        stem = Path(entry["photograph"]).stem
        w, h, shown = PICTURES[stem]
        mask = read_mask(out / entry["mask"], size=(w, h))
        assert [c["name"] for c in entry["classes"]] == [CLASSES[c] for c in shown]
        assert set(np.unique(mask)) <= {0, *(c + 1 for c in shown)}
        for c in entry["classes"]:
            share = float((mask == CLASSES.index(c["name"]) + 1).mean())
            assert c["share"] == pytest.approx(share, abs=1e-5) and 0 <= c["score"] <= 1
        image = Image.open(out / entry["mask"])
        assert image.mode == "P" and image.getpalette()[:9] == voc_palette()[:3].ravel().tolist()
        overlay = Image.open(out / entry["overlay"])
        assert (overlay.format, overlay.width) == ("JPEG", w)
        assert overlay.height > h if mask.any() else overlay.height == h  # the legend below


def test_a_photograph_named_twice_is_one(small: Path, tmp_path: Path) -> None:
    folder = small / "JPEGImages"
    again = folder / ".." / "JPEGImages" / "p0.jpg"
    found = find_photographs([str(folder / "p0.jpg"), str(again), str(folder / "p[01].jpg")])
    assert [photograph.path for photograph in found] == [folder / "p0.jpg", folder / "p1.jpg"]


def test_labels_and_scores_choose_the_classes(small: Path, weights: Path, tmp_path: Path) -> None:
    photo, out = small / "JPEGImages/p3.jpg", tmp_path / "out"
    assert (
        run(predict.main, photo, "--weights", weights, "--out", out, "--labels", "tent,ball").status
        == 0
    )
    assert [c["name"] for c in report(out)["photographs"][0]["classes"]] == ["ball", "tent"]
    assert (
        run(predict.main, photo, "--weights", weights, "--out", out, "--score", 0.001).status == 0
    )
    every = report(out)["photographs"][0]["classes"]
    assert [c["name"] for c in every] == list(CLASSES) and report(out)["score"] == 0.001
    between = sorted(c["score"] for c in every)[1] + 1e-5  # the strongest alone
    assert (
        run(predict.main, photo, "--weights", weights, "--out", out, "--score", between).status == 0
    )
    best = max(every, key=lambda c: c["score"])["name"]
    assert [c["name"] for c in report(out)["photographs"][0]["classes"]] == [best]


def test_unknown_labels_are_ignored_with_one_warning(
    small: Path, weights: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\np0.jpg,ball;zebra\np1.jpg,box;okapi\n")
    photos = [small / "JPEGImages/p0.jpg", small / "JPEGImages/p1.jpg"]
    done = run(
        predict.main, *photos, "--weights", weights, "--out", tmp_path / "out", "--labels", table
    )
    assert (
        done.status == 0 and done.err.count("warning:") == 1 and "okapi, zebra ignored" in done.err
    )
    assert [[c["name"] for c in e["classes"]] for e in report(tmp_path / "out")["photographs"]] == [
        ["ball"],
        ["box"],
    ]
    done = run(
        predict.main,
        photos[0],
        "--weights",
        weights,
        "--out",
        tmp_path / "out",
        "--labels",
        "zebra",
    )
    assert done.status == 2 and "which have ball, box, tent" in done.lines[0]


def test_crf_finds_the_edge_within_a_cell() -> None:
    """Red ends at column 29, in the middle of a cell of four pixels."""
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:, :29, 0] = 255
    settings = PredictSettings(ONE_VIEW, background=0.02, score=0.5)
    columns = [
        Predictor(Colours(), settings, crf)(Image.fromarray(pixels)).mask.mean(axis=0)
        for crf in (False, True)
    ]
    edges = [int((column > 0.5).sum()) for column in columns]
    assert edges[0] > 29 and edges[1] == 29


@pytest.mark.parametrize("size", [(96, 72), (400, 300), (2000, 1500)])
def test_crf_works_at_its_side_with_kernels_in_proportion(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a photograph of 500 pixels: a larger one is refined as that one would be."""
    seen = []

    def noting(image: Image.Image, cams: Any, **more: Any) -> Any:
        seen.append((image.size, more["settings"].bilateral.xy))
        return crf_cams(image, cams, **more)

    monkeypatch.setattr("smaf.engine.predicting.predictor.crf_cams", noting)
    settings = PredictSettings(replace(ONE_VIEW, long_side=64), background=0.02, score=0.5)
    photo = red_left().resize(size, Image.Resampling.NEAREST)
    for side, expected in ((250, min(250, max(size))), (50, 50)):
        prediction = Predictor(Colours(), settings, crf=True, crf_side=side)(photo)
        assert prediction.mask.shape == size[::-1] and list(prediction.scores) == [0]
        edge = (prediction.mask == 1).mean(axis=0) > 0.5
        assert edge.mean() == pytest.approx(0.5, abs=0.03)  # a cell is 0.06
        (w, h), xy = seen.pop()
        assert max(w, h) == expected and w * size[1] == pytest.approx(h * size[0], rel=0.03)
        whole = min(max(size), 500) if expected < max(size) else expected
        assert xy == pytest.approx(67 * expected / whole)


def test_commands_refine_by_default(small: Path, weights: Path, tmp_path: Path) -> None:
    """CRF is on; `--no_crf`, and another side, make the masks again."""
    words = (small / "JPEGImages/p0.jpg", "--weights", weights, "--out", tmp_path / "o")
    found = []
    for more, crf, side in (
        ((), True, 250),
        (("--crf",), True, 250),
        (("--crf_side", 32), True, 32),
        (("--no_crf",), False, None),
    ):
        done = run(predict.main, *words, *more)
        assert done.status == 0, done.err
        record = report(tmp_path / "o")
        assert record["crf"] is crf and record.get("crf_side") == side
        found.append("1 of 1 photographs are done" in done.err)
    assert found == [False, True, False, False]
    for side in (0, 1401):
        done = run(predict.main, *words, "--crf_side", side)
        assert done.status == 2 and "expected 32 to 1400 pixels" in done.lines[0]


def test_bad_photograph_does_not_stop_the_others(
    small: Path, weights: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photograph")
    done = run(
        predict.main,
        broken,
        small / "JPEGImages/p0.jpg",
        "--weights",
        weights,
        "--out",
        tmp_path / "out",
        "--labels",
        "ball",
    )
    assert (
        done.status == 2
        and "error: 1 of 2 photographs were left out" in done.err
        and "broken.jpg" in done.err
    )
    assert (tmp_path / "out/p0.png").is_file() and len(report(tmp_path / "out")["photographs"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.jpg",), "nowhere.jpg names no photograph"),
        (("{small}/JPEGImages/p0.jpg", "{other}/p0.png"), "would both be written to p0.png"),
        (("{small}/JPEGImages/p0.jpg", "--labels", "{other}/t.csv"), "has no line for p0.jpg"),
        (
            ("{small}/JPEGImages/p0.jpg", "--weights", "nothing.pth"),
            "weights nothing.pth does not exist",
        ),
        (("{small}/JPEGImages/p0.jpg", "--score", "1.5"), "--score 1.5: expected"),
        (("{other}/p0.png", "--out", "{other}", "--labels", "ball"), "would replace"),
        (
            ("{other}/p0.png", "{other}/p0_overlay.jpg", "--out", "{other}", "--labels", "ball"),
            "would replace",
        ),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, small: Path, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    red_left().save(other / "p0.png")
    red_left().save(other / "p0_overlay.jpg")
    (other / "t.csv").write_text("image,labels\np9.jpg,ball\n")
    words = tuple(word.format(small=small, other=other) for word in words)
    more = () if "--weights" in words else ("--weights", weights)
    out = () if "--out" in words else ("--out", tmp_path / "out")
    done = run(predict.main, *words, *more, *out)
    assert done.status == 2 and len(done.lines) == 1 and message in done.lines[0]
    assert not (tmp_path / "out" / "p0.png").exists() and Image.open(other / "p0.png").mode == "RGB"


def test_settings_travel_with_the_weights(weights: Path, tmp_path: Path) -> None:
    assert read_checkpoint(weights).predict == SETTINGS
    state = torch.load(weights, weights_only=True)["state_dict"]
    assert {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float16}
    model = build_classifier("test_efficientnet", num_classes=3, head="eps", pretrained=weights)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    write_checkpoint(tmp_path / "plain.pth", model, CLASSES)
    assert read_checkpoint(tmp_path / "plain.pth").predict is None


def test_import_is_quick() -> None:
    """`import smaf` loads nothing heavy; 0.3 s is the promise, the interpreter's own start included
    here."""
    best = 9.0
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", "import smaf, sys; assert 'torch' not in sys.modules"],
            check=True,
        )
        best = min(best, time.monotonic() - started)
    assert best < 0.3


def test_prediction_does_without_pytorchs_start_up() -> None:
    subprocess.run(
        [sys.executable, "-c", "import smaf.predict, sys; assert 'torch' not in sys.modules"],
        check=True,
    )


@needs_export
def test_onnx_is_the_same_network(tmp_path: Path) -> None:
    """Odd sizes and any batch; in half precision only the weights are rounded."""
    torch.manual_seed(0)
    model = build_classifier(LIGHT, num_classes=3, head="eps")
    export_onnx(tmp_path / "w.onnx", model, CLASSES, predict=SETTINGS)
    write_checkpoint(tmp_path / "w.pth", model, CLASSES, predict=SETTINGS)
    ours, theirs = OnnxNetwork(tmp_path / "w.onnx"), TorchNetwork(tmp_path / "w.pth", "cpu")
    assert (
        ours.settings == theirs.settings == SETTINGS
        and ours.class_names == theirs.class_names == CLASSES
    )
    assert (ours.mean, ours.std) == (theirs.mean, theirs.std)
    for shape in ((1, 3, 97, 131), (3, 3, 64, 50), (2, 3, 128, 96)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        a, b = ours.cam(images), theirs.cam(images)
        assert a.shape == b.shape == (shape[0], 4, -(-shape[2] // 16), -(-shape[3] // 16))
        assert np.abs(a - b).max() < 1e-4 * max(1.0, np.abs(b).max())


def test_maps_are_stage_1s(classifier: Path, small: Path) -> None:
    """Without PyTorch's resizing: the normalised mean of the views is the fused map."""
    network = TorchNetwork(classifier, "cpu")
    photo = Image.open(small / "JPEGImages/p3.jpg")
    for long_side in (None, 90):
        views = Views((0.5, 1.0, 1.5), long_side=long_side)
        maps = mean_maps(network.cam, photo, mean=network.mean, std=network.std, views=views)
        fused = fuse_cams(network.model, photo, np.array([1.0, 1.0, 0.0]), views=views)
        ours = normalise_maps(maps[:2] * 6, [0, 1])
        for c in (0, 1):
            assert np.abs(ours[c] - fused[c]).max() < 1e-5


@pytest.mark.parametrize("fault", ["no file", "damaged", "foreign"])
def test_bad_onnx_is_named(fault: str, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    if fault == "damaged":
        path.write_bytes(b"no network")
    if fault == "foreign":
        import onnx

        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["a"], ["b"])],
            "g",
            *(
                [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])]
                for name in "ab"
            ),
        )
        onnx.save(
            onnx.helper.make_model(
                graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
            ),
            path,
        )
    done = run(
        predict.main, small / "JPEGImages/p0.jpg", "--weights", path, "--out", tmp_path / "out"
    )
    assert done.status == 2 and len(done.lines) == 1 and "w.onnx" in done.lines[0]


@pytest.mark.parametrize("name", sorted(shipped_weights()))
def test_shipped_weights(name: str) -> None:
    path = shipped_weights()[name].with_suffix(".pth")
    assert path.stat().st_size <= 12e6 and path.with_suffix(".md").is_file()
    assert (
        read_checkpoint(path).predict == OnnxNetwork(path.with_suffix(".onnx")).settings is not None
    )
    state = torch.load(path, weights_only=True)
    assert all(
        v.dtype == torch.float16 for v in state["state_dict"].values() if v.is_floating_point()
    )


@pytest.mark.parametrize(
    "words, name",
    [
        ((), predict.SEGMENTER),
        (("--labels", "cat,person"), predict.CLASSIFIER),
        (("--threshold", 0.3), predict.CLASSIFIER),
        (("--weights", predict.CLASSIFIER), predict.CLASSIFIER),
    ],
)
def test_what_is_known_decides_which_network_predicts(
    words: tuple[object, ...], name: str, small: Path, tmp_path: Path
) -> None:
    good(
        run(predict.main, small / "JPEGImages/p0.jpg", "--out", tmp_path, "--device", "cpu", *words)
    )
    facts = json.loads((tmp_path / "predictions.json").read_text())
    assert facts["weights"] == name
    assert facts["classes"] == ["background", "cat", "cow", "dog", "horse", "sheep", "person"]


def test_labels_can_act_on_the_logits() -> None:
    """Where the label says green, red's share goes to green; found classes are handled alike."""
    maps = {
        kind: Predictor(Colours(), PredictSettings(Views((1.0,), label_filter=kind), 0.4, 0.5))
        for kind in ("maps", "logits")
    }
    yellow = np.zeros((48, 64, 3), dtype=np.uint8)
    yellow[:, :32, :2] = 255
    yellow[:, 16:32, 1] = 190  # green falls behind red there
    for labels in ([1], [0, 1], None):
        masks = {
            kind: predictor(Image.fromarray(yellow), labels).mask
            for kind, predictor in maps.items()
        }
        if labels == [1]:
            assert (masks["logits"][:, :30] == 2).all() and (masks["maps"][:, 18:30] == 0).all()
        else:
            assert np.array_equal(masks["logits"], masks["maps"])


def test_crf_has_a_threshold_of_its_own() -> None:
    views = Views((1.0,))
    masks = [
        Predictor(Colours(), PredictSettings(views, low, 0.5, crf_background=crf), True)(
            red_left()
        ).mask
        for low, crf in ((0.3, None), (0.9, 0.3), (0.9, None))
    ]
    assert np.array_equal(masks[0], masks[1]) and (masks[0] == 1).any()
    plain = [
        Predictor(Colours(), PredictSettings(views, 0.3, 0.5, crf_background=crf))(red_left()).mask
        for crf in (None, 0.99)
    ]
    assert np.array_equal(*plain)


class Shares:
    """A segmentation network whose probabilities are the colours' shares: class 0 is red, class 1
    green, and background blue."""

    class_names, mean, std, segments = ("red", "green"), (0.0,) * 3, (1.0,) * 3, True

    def cam(self, images: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(images, 1e-9))


def painted(*areas: tuple[int, tuple[int, int, int]]) -> Image.Image:
    """10×10 pixels: so many of each colour, the rest blue."""
    colours = [colour for count, colour in areas for _ in range(count)]
    colours += [(0, 0, 255)] * (100 - len(colours))
    return Image.fromarray(np.array(colours, dtype=np.uint8).reshape(10, 10, 3))


def shares_of(
    photo: Image.Image, labels: list[int] | None = None, *, crf: bool = False, **settings: Any
) -> tuple[list[int], dict[int, float]]:
    """Pixels of background, red and green, and the scores."""
    views = replace(ONE_VIEW, label_filter=settings.pop("label_filter", "logits"))
    made = PredictSettings(views, None, 0.3, **settings)
    mask, scores = predicted(Predictor(Shares(), made, crf), photo, labels)
    return np.bincount(mask.ravel(), minlength=3).tolist(), scores


# red 1/2, green 1/3 on three pixels; green 40/51, red 4/51 on forty
MIXED = painted((3, (150, 100, 50)), (40, (20, 200, 35)))


def test_least_share_by_hand() -> None:
    """A class on 3 of 100 pixels does not count: green is more likely there than background."""
    plain, scores = shares_of(MIXED)
    assert plain == [57, 3, 40] and scores == pytest.approx({0: 1 / 2, 1: 40 / 51})
    assert shares_of(MIXED, min_share=0.03) == (plain, scores)
    pixels, scores = shares_of(MIXED, min_share=0.04)
    assert pixels == [57, 0, 43] and list(scores) == [1]
    pixels, _ = shares_of(MIXED, min_share=0.04, label_filter="maps")
    assert pixels == [60, 0, 40]  # there red's share is background's
    assert shares_of(MIXED, min_share=0.43)[0] == [57, 0, 43]
    assert shares_of(MIXED, min_share=0.44) == ([100, 0, 0], {})
    assert shares_of(MIXED, [0, 1], min_share=0.9)[0] == plain  # labels say that both are there
    assert shares_of(MIXED, [], min_share=0.9) == ([100, 0, 0], {})


def test_the_smallest_class_goes_first() -> None:
    """Halves of 30 pixels make one class of 60 together; of equal ones the lower score goes."""
    halves = painted((30, (140, 110, 5)), (30, (120, 130, 5)))
    assert shares_of(halves)[0] == [40, 30, 30]
    pixels, scores = shares_of(halves, min_share=0.5)
    assert pixels == [40, 60, 0] and scores == pytest.approx({0: 140 / 255})
    assert shares_of(halves, min_share=0.61) == ([100, 0, 0], {})


def test_least_share_holds_after_the_crf() -> None:
    """The CRF takes three pixels of red away: they are not reported as a class of no pixels."""
    pixels, scores = shares_of(MIXED, crf=True)
    assert pixels[1] < 3 and list(scores) == [0, 1]
    pixels, scores = shares_of(MIXED, crf=True, min_share=0.03)
    assert pixels[1] == 0 and list(scores) == [1]


def test_score_of_a_larger_share_by_hand() -> None:
    """Red's ten strongest pixels are three of 1/2 and seven of 4/51: below the score of 0.3."""
    assert list(shares_of(MIXED, score_share=0.0)[1]) == [0, 1]
    assert shares_of(MIXED, score_share=0.03)[1][0] == pytest.approx(1 / 2)
    red = (3 / 2 + 7 * 4 / 51) / 10
    pixels, scores = shares_of(MIXED, score_share=0.1)
    assert pixels == [57, 0, 43] and scores == pytest.approx({1: 40 / 51})
    assert shares_of(MIXED, [0], score_share=0.1)[1] == pytest.approx({0: red})
    green = (3 / 3 + 40 * 40 / 51) / 100
    assert shares_of(MIXED, score_share=1.0)[1] == pytest.approx({1: green})


@pytest.mark.parametrize(("option", "value"), [("--min_share", 0.2), ("--score_share", 0.5)])
def test_shares_are_options_and_a_new_value_predicts_again(
    option: str, value: float, weights: Path, small: Path, tmp_path: Path
) -> None:
    words = (small / "JPEGImages/p0.jpg", "--weights", weights, "--out", tmp_path / "out")
    good(run(predict.main, *words))
    settings = report(tmp_path / "out")["settings"]
    assert "min_share" not in settings and "score_share" not in settings
    done = good(run(predict.main, *words, option, value))
    assert report(tmp_path / "out")["settings"][option.removeprefix("--")] == value
    assert "wrote 1 masks" in done.err
    done = run(predict.main, *words, option, 1.5)
    assert done.status == 2 and f"{option} 1.5: expected a value from 0 to 1" in done.lines[-1]
