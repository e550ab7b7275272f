"""The rows of speed.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from speed_work import Ground, Work, crf_of_labels, crf_of_softmax, evaluate, fuse, samples, train
from steps import Step

from smaf.models.classifier import RESNET38
from smaf.models.efficientnet_lite import LIGHT


@dataclass(frozen=True)
class Row:
    """A row of the table.

    `threads` None: as asked for on the command line; 0: PyTorch's own number. `rounds` is the most
    that is measured, `repeats` how often within a process, `neighbours` how many busy processes
    share two cores with it. Results agree within `tolerance`: floating point in its largest
    difference, integers in the share of those that differ.
    """

    name: str
    title: str
    work: Callable[[str, Ground], Work]
    tolerance: float = 1e-3
    threads: int | None = None
    repeats: int = 3
    rounds: int | None = None
    neighbours: int = 0
    needs: str | None = None


def _fuse_rows() -> list[Row]:
    light = partial(fuse, LIGHT, 2)
    return [
        Row(
            "fuse-resnet38",
            "fused maps of a photograph, 8 views, ResNet-38",
            partial(fuse, RESNET38, 1),
            repeats=1,
            rounds=1,
        ),
        Row("fuse-light-1", "fused maps of a photograph, 8 views, light network", light, repeats=2),
        Row(
            "fuse-light-2",
            "fused maps of a photograph, 8 views, light network",
            light,
            repeats=2,
            threads=2,
        ),
        Row(
            "fuse-light-busy",
            "fused maps, light network, two cores shared with a busy process",
            light,
            repeats=2,
            threads=0,
            neighbours=1,
        ),
    ]


def _crf_rows() -> list[Row]:
    soft = [
        Row(
            f"crf-softmax-{labels}",
            f"CRF on softmax, {labels} labels",
            partial(crf_of_softmax, labels),
            tolerance=0.01,
            needs="pydensecrf",
        )
        for labels in (2, 21)
    ]
    return [
        Row(
            "crf-labels",
            "stage 3's CRF on a mask, 21 labels",
            crf_of_labels,
            tolerance=0.01,
            needs="pydensecrf",
        ),
        *soft,
    ]


def _step_rows() -> list[Row]:
    light = [
        Row(
            f"step-light-{stage}",
            f"a step of stage {stage}, light network, 14 × 224²",
            partial(train, Step(stage, LIGHT, 14, 224)),
        )
        for stage in (0, 2, 4)
    ]
    large = [
        Row(
            f"step-resnet38-{stage}",
            f"a step of stage {stage}, ResNet-38, 2 × 224²",
            partial(train, Step(stage, RESNET38, 2, 224)),
            repeats=2,
            rounds=1,
        )
        for stage in (0, 2)
    ]
    return [*light, *large]


ROWS = {
    row.name: row
    for row in (
        *_fuse_rows(),
        *_crf_rows(),
        Row("sample-0", "a training sample of stage 0", partial(samples, 0), tolerance=0.01),
        Row("sample-2", "a training sample of stage 2", partial(samples, 2), tolerance=2e-3),
        Row("evaluate", "an evaluated mask", evaluate, tolerance=1e-9),
        *_step_rows(),
    )
}
