"""The demo set: exact masks that agree with lists and labels, the same bytes each time, faulty
saliency maps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.images import read_mask
from smaf.core.labels import read_image_labels
from smaf.data.demo.brush import Brush
from smaf.data.demo.demo_set import MARKER, detect_saliency, render_demo_set, render_photographs
from smaf.data.demo.fields import blur
from smaf.data.demo.grounds import GROUNDS
from smaf.data.demo.objects import OBJECTS
from smaf.data.demo.scenes import CLASSES, HABITAT, render_scene
from smaf.data.layout import DataRoot, open_data

SIZE = (128, 96)
TRAIN, TEST = 40, 10


def _bytes(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    root = tmp_path_factory.mktemp("demo")
    render_demo_set(root, train=TRAIN, test=TEST, size=SIZE)
    return open_data(root)


def test_lists_labels_and_masks_agree(demo: DataRoot) -> None:
    ids = demo.ids("train") + demo.ids("test")
    assert len(demo.ids("train")) == TRAIN and len(demo.ids("test")) == TEST
    assert demo.classes.names == CLASSES
    assert sorted(demo.all_labels) == sorted(ids)
    for image_id, label in zip(ids, demo.labels_of(ids), strict=True):
        pixels = np.bincount(demo.mask(image_id).ravel(), minlength=256)
        assert pixels[len(CLASSES) + 1 :].sum() == 0  # exact: nothing is left out
        shares = pixels[1 : len(CLASSES) + 1] / pixels.sum()
        np.testing.assert_array_equal(shares > 0, label > 0)
        assert shares[label > 0].min() > 0.02  # a labelled class is there to see
        assert 0.03 < shares.sum() < 0.6


def test_photograph_mask_and_saliency_have_one_size(demo: DataRoot) -> None:
    demo.require([*demo.ids("train"), *demo.ids("test")], saliency=True, masks=True)
    for image_id in demo.ids("test"):
        assert demo.photo(image_id).size == demo.saliency(image_id).size == SIZE
        assert demo.mask(image_id).shape == SIZE[::-1]


@pytest.mark.parametrize(("name", "least"), [("train", TRAIN // 5), ("test", TEST // 5)])
def test_every_class_is_in_every_list(demo: DataRoot, name: str, least: int) -> None:
    counts = demo.labels_of(demo.ids(name)).sum(axis=0)
    assert counts.min() >= least
    assert counts.max() <= 3 * counts.min()


def test_saliency_is_good_but_not_perfect(demo: DataRoot) -> None:
    overlaps = []
    for image_id in demo.ids("train"):
        salient, true = np.asarray(demo.saliency(image_id)) > 127, demo.mask(image_id) > 0
        overlaps.append((salient & true).sum() / (salient | true).sum())
    assert 0.65 < np.mean(overlaps) < 0.85
    assert np.max(overlaps) < 0.99
    assert np.min(overlaps) < 0.6


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    render_demo_set(first, train=3, test=2, size=SIZE, seed=4)
    render_demo_set(again, train=3, test=2, size=SIZE, seed=4)
    render_demo_set(other, train=3, test=2, size=SIZE, seed=5)
    assert _bytes(first) == _bytes(again)
    photo = "JPEGImages/train_0000.jpg"
    assert _bytes(first)[photo] != _bytes(other)[photo]


def test_test_scenes_do_not_depend_on_the_number_of_training_scenes(tmp_path: Path) -> None:
    for count in (1, 3):
        render_demo_set(tmp_path / str(count), train=count, test=1, size=SIZE)
    photos = [(tmp_path / str(count) / "JPEGImages/test_0000.jpg").read_bytes() for count in (1, 3)]
    assert photos[0] == photos[1]


def test_a_complete_set_is_left_alone_and_an_interrupted_one_is_finished(tmp_path: Path) -> None:
    render_demo_set(tmp_path, train=1, test=1, size=SIZE)
    whole = _bytes(tmp_path)
    photo = tmp_path / "JPEGImages" / "test_0000.jpg"
    photo.write_bytes(b"mine")
    render_demo_set(tmp_path, train=1, test=1, size=SIZE)
    assert photo.read_bytes() == b"mine"
    (tmp_path / MARKER).unlink()
    render_demo_set(tmp_path, train=1, test=1, size=SIZE)
    assert _bytes(tmp_path) == whole


def test_another_data_set_is_not_overwritten(tmp_path: Path) -> None:
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000032\n")
    with pytest.raises(InputError, match="another data set"):
        render_demo_set(tmp_path, train=1, test=1, size=SIZE)
    assert (lists / "train.txt").read_text() == "2007_000032\n"


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": 0}, {"size": (16, 96)}, {"seed": -1}])
def test_arguments_out_of_range_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="demo set"):
        render_demo_set(tmp_path, **wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_fits_its_patch_and_has_its_area(name: str) -> None:
    kind, areas = OBJECTS[name], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        brush = Brush(40, rng, light=(-0.4, -0.5, 0.7), angle=0.4, reach=kind.reach)
        kind.paint(brush, rng)
        border = np.concatenate(
            [brush.alpha[0], brush.alpha[-1], brush.alpha[:, 0], brush.alpha[:, -1]]
        )
        assert border.max() == 0
        assert brush.evidence.min() >= 0 and brush.evidence.max() <= 1
        areas.append(brush.alpha.sum() / 40**2)
    assert np.mean(areas) == pytest.approx(kind.area, rel=0.15)


def test_ellipse_covers_its_area() -> None:
    brush = Brush(50, np.random.default_rng(0), light=(0, 0, 1), angle=0.3)
    assert brush.ellipse(0.1, -0.2, 0.6, 0.3).sum() / 50**2 == pytest.approx(
        np.pi * 0.6 * 0.3, rel=0.01
    )


@pytest.mark.parametrize("sigma", [1.0, 4.0, 9.0])
def test_blurred_edge_is_the_integral_of_a_gaussian(sigma: float) -> None:
    edge = np.zeros((64, 80), dtype=np.float32)
    edge[:, 40:] = 1
    blurred = blur(edge, sigma)
    expected = [0.5 * (1 + math.erf((x + 0.5 - 40) / (sigma * math.sqrt(2)))) for x in range(80)]
    np.testing.assert_allclose(blurred, np.broadcast_to(expected, edge.shape), atol=0.04)
    np.testing.assert_allclose(blur(edge.T, sigma), blurred[:1].T + np.zeros((1, 64)), atol=0.02)


@pytest.mark.parametrize("size", [(96, 128), (129, 97), (64, 64)])
def test_other_sizes_and_shapes_render(size: tuple[int, int]) -> None:
    for index in range(3):
        scene = render_scene(1, index, size=size)
        assert scene.photo.shape == (size[1], size[0], 3)
        assert (
            detect_saliency(scene, np.random.default_rng(0)).shape
            == scene.mask.shape
            == (size[1], size[0])
        )
        assert (scene.mask == index % len(CLASSES) + 1).mean() > 0.02


def test_nearer_objects_hide_farther_ones() -> None:
    scene = next(
        scene
        for scene in (render_scene(0, i, size=SIZE) for i in range(40))
        if sum(layer.label > 0 for layer in scene.layers) == 3
    )
    cover = sum(layer.visible for layer in scene.layers if layer.label)
    assert np.max(cover) < 1.01  # what is hidden does not count twice
    nearest = scene.layers[-1]
    assert (scene.mask[nearest.visible > 0.6] == nearest.label).all()
    np.testing.assert_array_equal(scene.mask > 0, cover > 0.5)


def test_saliency_of_a_scene_is_soft_and_depends_on_its_generator_alone() -> None:
    scene = render_scene(0, 2, size=SIZE)
    first, again, other = (
        detect_saliency(scene, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert ((first > 40) & (first < 215)).mean() > 0.01


def test_every_class_has_a_habitat() -> None:
    assert set(HABITAT) == set(CLASSES)
    assert set(HABITAT.values()) <= set(GROUNDS)


def test_photographs_in_a_plain_folder(tmp_path: Path) -> None:
    """Files, tags and masks agree; the same call writes nothing again, another one all."""
    render_photographs(tmp_path, count=3, size=(64, 64))
    labels = read_image_labels(tmp_path / "labels.csv", CLASSES)
    assert sorted(labels) == ["scene_0000", "scene_0001", "scene_0002"]
    for name, label in labels.items():
        mask = read_mask(tmp_path / f"masks/{name}.png", size=(64, 64))
        assert set(np.unique(mask)) - {0} == {int(c) + 1 for c in np.flatnonzero(label)}
        assert Image.open(tmp_path / f"photographs/{name}.jpg").size == (64, 64)
    photo = tmp_path / "photographs/scene_0000.jpg"
    before = photo.read_bytes()
    photo.write_bytes(b"changed")
    render_photographs(tmp_path, count=3, size=(64, 64))
    assert photo.read_bytes() == b"changed"
    render_photographs(tmp_path, count=2, size=(64, 64))
    assert photo.read_bytes() == before
    assert len(list((tmp_path / "photographs").iterdir())) == 2  # none without a row is left


def test_several_processes_render_the_same_photographs(tmp_path: Path) -> None:
    for num_workers in (0, 2):
        folder = tmp_path / str(num_workers)
        render_photographs(folder, count=10, size=(64, 64), num_workers=num_workers)
    one, two = tmp_path / "0", tmp_path / "2"
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert len(files) == 10 + 10 + 2
    assert [(one / path).read_bytes() for path in files] == [
        (two / path).read_bytes() for path in files
    ]
