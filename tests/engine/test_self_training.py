"""Stage 2: the loss falls towards its target, the teacher runs only where it is needed, prototypes
are means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import (
    ADAMW,
    TRAIN,
    good,
    make_set,
    run,
    same,
    stage1,
    stage2,
    weights_of,
    write_list,
)

from smaf import train_fusion
from smaf.core.record import checksum
from smaf.core.tensors import normalise
from smaf.data.layout import open_data
from smaf.engine.stages.train_fusion import SelfTrainingTask
from smaf.engine.trained import trained_classifier
from smaf.engine.training.prototypes import initial_prototypes, read_prototypes
from smaf.models import Classifier, ClassifierOutput
from smaf.ops import class_prototypes


@pytest.fixture
def teachers_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the batch sizes of the teacher's forward passes."""
    passes: list[int] = []
    start = SelfTrainingTask.__init__

    def counting(self: SelfTrainingTask, *rest: Any) -> None:
        start(self, *rest)
        if self.teacher is not None:
            self.teacher.register_forward_hook(
                lambda module, inputs, output: passes.append(len(inputs[0]))
            )

    monkeypatch.setattr(SelfTrainingTask, "__init__", counting)
    return passes


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), []),
        (("--ema",), []),
        (("--rectify", "cosine"), [2, 2, 2]),
        (("--rectify", "proda"), [2, 2, 2]),
        (("--moving_prototype",), [2, 2, 2]),
    ],
)
def test_teacher_runs_only_where_needed(
    parts: tuple[str, ...],
    expected: list[int],
    teachers_passes: list[int],
    small: Path,
    classifier: Path,
    cams: Path,
    tmp_path: Path,
) -> None:
    good(stage2(small, classifier, cams, tmp_path / "out", "--steps", 3, *ADAMW, *parts))
    assert teachers_passes == expected
    assert (tmp_path / "out/prototypes_eps.npz").exists() == bool(expected)
    assert (tmp_path / "out/classifier_ema.pth").exists() == (parts == ("--ema",))


def test_ema_follows_the_student(small: Path, classifier: Path, cams: Path, tmp_path: Path) -> None:
    """One step: teacher = 0.9 · start + 0.1 · student for parameters; a decay of 0 makes it the
    student."""
    good(
        stage2(
            small,
            classifier,
            cams,
            tmp_path / "a",
            "--steps",
            1,
            *ADAMW,
            "--ema",
            "--ema_decay",
            0.9,
        )
    )
    start, student, teacher = (
        weights_of(path)
        for path in (classifier, tmp_path / "a/classifier.pth", tmp_path / "a/classifier_ema.pth")
    )
    key = "fc8.weight"
    assert torch.allclose(teacher[key], 0.9 * start[key] + 0.1 * student[key], atol=1e-6)
    assert not torch.equal(teacher[key], start[key])
    good(
        stage2(
            small, classifier, cams, tmp_path / "b", "--steps", 1, *ADAMW, "--ema", "--ema_decay", 0
        )
    )
    assert same(
        weights_of(tmp_path / "b/classifier.pth"), weights_of(tmp_path / "b/classifier_ema.pth")
    )


def test_prototypes_are_means_over_images(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    good(
        stage2(
            small, classifier, cams, tmp_path / "out", "--steps", 1, *ADAMW, "--rectify", "proda"
        )
    )
    stored = read_prototypes(
        tmp_path / "out/prototypes_eps.npz",
        class_names=("ball", "box", "tent"),
        channels=128,
        source=checksum([checksum(classifier.read_bytes()), *TRAIN, 64]),
    )
    data = open_data(small)
    model = trained_classifier(classifier, data)
    means: dict[int, list[np.ndarray]] = {t: [] for t in range(4)}
    for image_id in TRAIN:
        squeezed = data.photo(image_id).resize((64, 64), Image.Resampling.BICUBIC)
        with torch.no_grad():
            output = model(normalise(squeezed, model.mean, model.std)[None])
        vectors, classes = class_prototypes(output.features, output.cam)
        for vector, t in zip(vectors, classes.tolist(), strict=True):
            means[t].append(vector.numpy())
    assert stored.shape == (4, 128)
    assert any(means.values())
    for t, vectors_of_t in means.items():
        expected = np.mean(vectors_of_t, axis=0) if vectors_of_t else np.zeros(128)
        np.testing.assert_allclose(stored[t].numpy(), expected, rtol=1e-4, atol=1e-6)


class _Halves(Classifier):
    """Features: red, green and blue. The left half of each map is class 0, the right half
    background."""

    mean, std, output_stride = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1

    def __init__(self) -> None:
        super().__init__({}, 3, num_classes=3, head="eps")

    def forward(self, images: torch.Tensor) -> ClassifierOutput:
        cam = torch.zeros(len(images), 4, *images.shape[2:])
        cam[:, 0, :, : images.shape[3] // 2] = 1.0
        cam[:, 3, :, images.shape[3] // 2 :] = 1.0
        return ClassifierOutput(cam.mean(dim=(2, 3)), cam, images)


def test_prototypes_worked_out_by_hand(tmp_path: Path) -> None:
    """Left halves are red in one image and green in the other, right halves blue: class 0 is their
    mean."""
    root = make_set(tmp_path / "set")
    for image_id, colour in (("p0", (255, 0, 0)), ("p1", (0, 255, 0))):
        (root / "JPEGImages" / f"{image_id}.jpg").unlink()
        pixels = np.zeros((8, 8, 3), dtype=np.uint8)
        pixels[:, :4], pixels[:, 4:] = colour, (0, 0, 255)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{image_id}.png")
    prototypes = initial_prototypes(_Halves(), open_data(root), ["p0", "p1"], side=8)
    expected = [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(prototypes.numpy(), expected, atol=1e-6)


def test_cams_move_to_their_target(classifier: Path, tmp_path: Path, losses: list[float]) -> None:
    root = make_set(tmp_path / "set")
    write_list(root, "two", ("p0", "p1"))
    cams = tmp_path / "cams"
    good(stage1(root, classifier, cams, "--list", "two"))
    good(
        run(
            train_fusion.main,
            "--data_root",
            root,
            "--list",
            "two",
            "--weights",
            classifier,
            "--cam_dir",
            cams,
            "--out",
            tmp_path / "out",
            "--crop",
            64,
            "--resize_long",
            60,
            60,
            "--batch_size",
            2,
            "--num_workers",
            0,
            "--device",
            "cpu",
            "--steps",
            15,
            "--optimiser",
            "adamw",
            "--lr",
            0.002,
        )
    )
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


def test_maps_of_another_class_list_are_refused(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("tent\nbox\nball\n")  # as many, in another order
    good(stage2(small, classifier, cams, tmp_path / "right", "--steps", 1))
    other = tmp_path / "other.pth"
    saved = torch.load(classifier, weights_only=True)
    saved["info"]["class_names"] = ()
    torch.save(saved, other)
    done = stage2(small, other, cams, tmp_path / "wrong", "--steps", 1, "--classes", names)
    assert done.status == 2
    assert (
        f"{cams} was made with the classes ball, box, tent; the data set keeps tent, box, ball"
        in done.lines[0]
    )


def test_sharpened_targets_train_another_student(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    words = ("--steps", 2, *ADAMW)
    good(stage2(small, classifier, cams, tmp_path / "plain", *words))
    good(stage2(small, classifier, cams, tmp_path / "sharp", *words, "--sharpen", "par"))
    plain, sharp = (weights_of(tmp_path / name / "classifier.pth") for name in ("plain", "sharp"))
    assert not same(plain, sharp)
    done = stage2(small, classifier, cams, tmp_path / "plain", *words, "--sharpen", "par")
    assert done.status == 2 and "sharpen was 'none', is 'par'" in done.lines[0]
