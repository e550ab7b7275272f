"""What gpu.py runs: the stages, comparisons with the CPU, PyTorch's launcher, published sizes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from steps import CLASSES, STAGES, Step, training_step

import smaf
from smaf.commands import Commands, classifier_in, words_of
from smaf.core.device import PRECISIONS, autocast
from smaf.core.errors import InputError
from smaf.core.fused_maps import read_fused
from smaf.core.views import PAPER_VIEWS, Views
from smaf.data.demo.demo_set import render_demo_set
from smaf.data.layout import open_data
from smaf.engine.outputs import CLASSIFIER, SEGMENTER
from smaf.models import DEEPLAB, build_classifier, build_network, build_segmenter, read_checkpoint
from smaf.models.classifier import RESNET38
from smaf.models.efficientnet_lite import LIGHT
from smaf.ops import fuse_cams, torch_mean_maps

Entry = dict[str, Any]
# Largest differences from the CPU in fp32: of fused maps (0 to 1), and of losses as a share
MAP_LIMITS = {"fp32": 1e-3, "fp32, TF32": 2e-2, "fp16": 2e-2, "bf16": 0.2}
LOSS_LIMITS = {"fp32": 1e-3, "fp32, TF32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}
STORED = 2e-3  # of maps in files, which keep thousandths


@dataclass(frozen=True)
class Extent:
    """How much is run: the published sizes in all precisions, or tiny ones in fp32."""

    photographs: int = 24
    photo: tuple[int, int] = (256, 192)
    steps: int = 20
    crop: int = 152
    batch: int = 4
    long_side: int | None = None  # None: as the recipe has it, as are None scales
    scales: tuple[float, ...] | None = None
    fused: tuple[int, int] = (500, 375)
    classifier: tuple[int, int] = (8, 448)  # photographs a forward pass, crop
    segmenter: tuple[int, int] = (5, 321)
    repeats: int = 3
    precisions: tuple[str, ...] = PRECISIONS


QUICK = Extent(
    photographs=4,
    photo=(96, 72),
    steps=2,
    crop=40,
    batch=2,
    long_side=48,
    scales=(1.0,),
    fused=(32, 24),
    classifier=(1, 32),
    segmenter=(1, 33),
    repeats=1,
    precisions=("fp32",),
)


@dataclass(frozen=True)
class Place:
    """Where it runs: the device, the folder with the demo set in `data`, and how much of it."""

    device: torch.device
    folder: Path
    extent: Extent

    def commands(self, **shared: Any) -> Commands:
        """Commands on the demo set, with the trainings' common options."""
        crop = self.extent.crop
        return Commands(
            data_root=self.folder / "data",
            device=self.device.type,
            num_workers=0,
            steps=self.extent.steps,
            crop=crop,
            resize_long=(crop, 2 * crop),
            batch_size=self.extent.batch,
            long_side=self.extent.long_side,
            scales=self.extent.scales,
            **shared,
        )

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def render(self) -> None:
        """The demo set."""
        count = self.extent.photographs
        render_demo_set(
            self.folder / "data", train=count, test=max(2, count // 4), size=self.extent.photo
        )


@contextmanager
def watched(place: Place, entry: Entry) -> Iterator[None]:
    """Add the block's seconds, and on CUDA its peak memory in bytes, to `entry`."""
    cuda = place.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(place.device)
    started = time.perf_counter()
    yield
    place.wait()
    entry["seconds"] = time.perf_counter() - started
    entry["peak"] = torch.cuda.max_memory_allocated(place.device) if cuda else None


def stages(place: Place, precision: str) -> list[Entry]:
    """Stages 0 to 4 by their commands, with the light recipe and few steps."""
    out, entries = place.folder / precision, []
    commands = place.commands(recipe="light", precision=precision)

    def run(name: str, folder: str, **options: Any) -> None:
        entry: Entry = {"command": name, "precision": precision}
        with watched(place, entry):
            commands.run(name, out=out / folder, **options)
        entries.append(entry)

    eps, student = (classifier_in(out / name) for name in ("eps", "student"))
    run("train_eps", "eps", list="train")
    run("gen_fusion", "cams", list="train", weights=eps)
    run("refine_fusion", "refined", list="train", cam_dir=out / "cams")
    run("train_fusion", "student", list="train", weights=eps, cam_dir=out / "refined")
    run("gen_pm", "masks", list="train", weights=student, crf="maps")
    run("train_seg", "net", list="train", weights=student, target_dir=out / "masks")
    run("test_seg", "predicted", list="test", weights=out / "net" / SEGMENTER)
    return entries


def _ways(device: torch.device) -> list[tuple[str, str, bool]]:
    """Title, precision, and whether convolutions may use TF32, which CUDA's do by themselves."""
    ways = [(precision, precision, precision != "fp32") for precision in PRECISIONS]
    return [*ways, *([("fp32, TF32", "fp32", True)] if device.type == "cuda" else [])]


def _check(what: str, apart: float, limit: float) -> Entry:
    return {"what": what, "apart": apart, "limit": limit, "same": apart <= limit}


def compare_maps(place: Place) -> list[Entry]:
    """Fused maps of the test photographs by stage 0's classifier: device and CPU."""
    data = open_data(place.folder / "data")
    model = build_network(read_checkpoint(place.folder / "fp32" / "eps" / CLASSIFIER))
    scales = place.extent.scales
    views = PAPER_VIEWS if scales is None else Views(scales)

    def maps(device: torch.device, precision: str) -> list[np.ndarray]:
        model.to(device)
        with autocast(device, precision):
            fused = (
                fuse_cams(model, data.photo(i), data.all_labels[i], views=views)
                for i in data.ids("test")
            )
            return [plane for cams in fused for plane in cams.values()]

    there, checks = maps(torch.device("cpu"), "fp32"), []
    for title, precision, tf32 in _ways(place.device):
        with torch.backends.cudnn.flags(allow_tf32=tf32):
            here = maps(place.device, precision)
        apart = max(float(np.abs(a - b).max()) for a, b in zip(here, there, strict=True))
        checks.append(_check(f"fused maps, {title}", apart, MAP_LIMITS[title]))
    return checks


def compare_losses(place: Place) -> list[Entry]:
    """The loss of each stage's first batch with the light network: device and CPU."""
    checks = []
    for stage in STAGES:
        step = Step(stage, LIGHT, place.extent.batch, place.extent.crop)

        def loss(device: torch.device, precision: str, step: Step = step) -> float:
            model, loop = step.build(), replace(step.loop, accumulate=1)
            run = training_step(model, step.task(model), loop, device=device, precision=precision)
            return run(step.batch())

        there = loss(torch.device("cpu"), "fp32")
        for title, precision, tf32 in _ways(place.device):
            with torch.backends.cudnn.flags(allow_tf32=tf32):
                apart = abs(loss(place.device, precision) - there) / abs(there)
            checks.append(_check(f"loss of stage {stage}, {title}", apart, LOSS_LIMITS[title]))
    return checks


def launched(place: Place, processes: int, name: str, **options: Any) -> None:
    """Run a command in processes of PyTorch's launcher."""
    words = place.commands().words(name, **options)
    environment = dict(os.environ)
    paths = (str(Path(smaf.__file__).parents[1]), environment.get("PYTHONPATH", ""))
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    if place.device.type == "cpu":
        environment["OMP_NUM_THREADS"] = "1"
    how = words_of({"nproc_per_node": processes})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", *how]
    done = subprocess.run(
        [*launcher, "-m", "smaf", name, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"{name} in {processes} processes: {done.stderr.strip()[-800:]}")


def compare_launched(place: Place, processes: int) -> list[Entry]:
    """Stage 0's weights and stage 1's maps: of many processes, and of one with as large a batch."""
    options: Entry = {"list": "train", "backbone": LIGHT, "optimiser": "sgd", "lr": 0.001}
    many, one = place.folder / "many", place.folder / "one"
    batch = place.extent.batch * processes
    launched(place, processes, "train_eps", out=many / "eps", **options)
    place.commands().run("train_eps", out=one / "eps", **{**options, "batch_size": batch})
    states = [read_checkpoint(classifier_in(folder / "eps")).state for folder in (many, one)]
    apart = max(
        float((states[0][key].double() - states[1][key].double()).abs().max()) for key in states[0]
    )
    maps: Entry = {"list": "test", "weights": classifier_in(one / "eps")}
    launched(place, processes, "gen_fusion", out=many / "cams", **maps)
    place.commands().run("gen_fusion", out=one / "cams", **maps)
    data = open_data(place.folder / "data")
    furthest = 0.0
    for image_id in data.ids("test"):
        a, b = (
            read_fused(folder / "cams" / f"{image_id}.npz", num_classes=data.num_classes)
            for folder in (many, one)
        )
        furthest = max(furthest, *(float(np.abs(a[c] - b[c]).max()) for c in b))
    how = f"{processes} {'process' if processes == 1 else 'processes'} and one"
    return [
        _check(f"weights after stage 0, {how}", apart, 1e-3),
        _check(f"stored maps, {how}", furthest, STORED),
    ]


def _photo(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _inference(place: Place, network: str, precision: str) -> Callable[[], object]:
    """Stage 1's fusion by ResNet-38, or a mask's maps by DeepLab-V2."""
    photo = _photo(place.extent.fused)
    torch.manual_seed(0)
    if network == RESNET38:
        model = build_classifier(network, num_classes=CLASSES).to(place.device)
        label = np.zeros(CLASSES, dtype=np.float32)
        label[[7, 14]] = 1.0
        work: Callable[[], object] = lambda: fuse_cams(model, photo, label, views=PAPER_VIEWS)  # noqa: E731
    else:
        segmenter = build_segmenter(network, num_classes=CLASSES + 1).to(place.device)
        views = Views((1.0,), False)
        work = lambda: torch_mean_maps(segmenter, photo, views=views)  # noqa: E731

    def run() -> object:
        with autocast(place.device, precision):
            return work()

    return run


def _training(place: Place, step: Step, precision: str) -> Callable[[], object]:
    """A step of the optimiser, with all of its forward passes."""
    model, batch = step.build(), step.batch()
    run = training_step(
        model, step.task(model), step.loop, device=place.device, precision=precision
    )
    return lambda: run(batch)


def sizes(place: Place, precision: str) -> Iterator[Entry]:
    """Time and peak memory of fusion and steps at the extent's sizes."""
    extent = place.extent
    width, height = extent.fused
    (n, crop), (m, cut) = extent.classifier, extent.segmenter
    works: dict[str, Callable[[], Callable[[], object]]] = {
        f"ResNet-38, fused maps, {width}×{height}, 8 views": lambda: _inference(
            place, RESNET38, precision
        ),
        f"ResNet-38, step of stage 0, {n} × {crop}²": lambda: _training(
            place, Step(0, RESNET38, n, crop), precision
        ),
        f"ResNet-38, step of stage 2, {n} × {crop}²": lambda: _training(
            place, Step(2, RESNET38, n, crop), precision
        ),
        f"DeepLab-V2, maps, {width}×{height}": lambda: _inference(place, DEEPLAB, precision),
        f"DeepLab-V2, step of stage 4, 2 × {m} × {cut}²": lambda: _training(
            place, Step(4, DEEPLAB, m, cut), precision
        ),
    }
    for title, prepare in works.items():
        work = prepare()
        if extent.repeats > 1:
            work()  # the first time loads libraries and chooses kernels
        measured: list[Entry] = [{} for _ in range(extent.repeats)]
        for entry in measured:
            with watched(place, entry):
                work()
        yield {
            "what": title,
            "precision": precision,
            "seconds": median(entry["seconds"] for entry in measured),
            "peak": measured[-1]["peak"],
        }
