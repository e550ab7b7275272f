"""Saliency maps of every photograph on a list, by a network in an ONNX file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from smaf.core.errors import during
from smaf.core.images import SALIENCY_SUFFIXES, find_images, read_saliency
from smaf.core.options import POSITIVE, Role, option
from smaf.core.record import RECORD
from smaf.core.saliency_facts import PRESETS
from smaf.core.saliency_maps import made_here, write_saliency
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.distributed import process_group
from smaf.engine.fused import read_ahead
from smaf.engine.outputs import Output, OutputRun, Settings, image_run, settings_of
from smaf.engine.plans import StagePlan
from smaf.engine.predicting.saliency_network import SHIPPED, SaliencyNetwork, open_saliency
from smaf.engine.saliency import says_nothing

log = logging.getLogger("smaf")
_CLASSES = ("class_list", "source_classes")  # of a record: a map knows no classes


@dataclass(frozen=True)
class SaliencyPlan(StagePlan):
    """Plan of the saliency maps; by default of the network that ships."""

    GROUP: ClassVar[str] = "saliency"
    command: ClassVar[str] = "saliency"

    model: str | Path = option(
        SHIPPED,
        "the network that ships, an ONNX file, or the name of one in rembg's cache (u2net); "
        "nothing is downloaded",
        role=Role.CONTENTS,
    )
    preset: str | None = option(
        None,
        "the published network that --model is a training of, which says how it wants "
        "photographs; default: by the file's properties, else by its name",
        choices=tuple(PRESETS),
    )
    device: str = option(
        "auto", "ONNX Runtime computes on the CPU", choices=("auto", "cpu"), role=Role.RUN
    )
    threads: int | None = option(
        None,
        "CPU threads of the network; default: as many as cores",
        kind=int,
        within=POSITIVE,
        role=Role.RUN,
    )

    @property
    def labels_decide(self) -> bool:
        """Maps are of photographs alone; the data set needs no labels."""
        return False


class _Photo(NamedTuple):
    """A photograph of a list as its network takes it."""

    image_id: str
    size: tuple[int, int]  # (W, H) of the whole photograph, upright
    images: np.ndarray


class _Maps:
    """The maps of one run: which are there and whole, how they are made.

    A map in the folder that this command did not make is left as it is, whole or not: it may be
    better, and nobody could make it again.
    """

    def __init__(self, data: DataRoot, network: SaliencyNetwork, folder: Path) -> None:
        self.data, self.network, self.folder = data, network, folder

    def without_foreign(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that have no map of another program."""
        found = find_images((self.folder,), ids, suffixes=SALIENCY_SUFFIXES)
        return [i for i in ids if i not in found or made_here(found[i])]

    def check(self, image_id: str) -> None:
        """Raise where an image has no map, or a damaged one."""
        read_saliency(self.folder / f"{image_id}.png")

    def read(self, image_id: str) -> _Photo:
        """Read a photograph no larger than the network takes it; its map has the whole size."""
        sizes: list[tuple[int, int]] = []

        def needed(size: tuple[int, int]) -> tuple[int, int]:
            sizes.append(size)
            return self.network.size(size)

        photograph = self.data.photo(image_id, needed=needed)
        images = self.network.images(photograph, self.network.size(sizes[0]))
        return _Photo(image_id, sizes[0], images)

    def find(self, photo: _Photo) -> np.ndarray:
        """The map of a photograph, (h, w) uint8, at the size that the network gives."""
        path = self.data.photo_path(photo.image_id)
        with during(f"finding what is salient in {path}"):
            return self.network.map(photo.images, f"photograph {path}")

    def write(self, photo: _Photo, values: np.ndarray) -> None:
        """Write a map at its photograph's size; in 8 bits, the largest takes 0.1 GB."""
        image = Image.fromarray(values).resize(photo.size, Image.Resampling.BILINEAR)
        write_saliency(self.folder / f"{photo.image_id}.png", image)


def saliency(data: DataRoot, plan: SaliencyPlan, output: Output | Path | str) -> Path:
    """Write saliency maps, `<id>.png`, 8-bit grey of the photograph's size; return the folder.

    Maps that are there and whole, of the same network, are not made again. Those of other programs
    stay as they are, also with `overwrite`. Raises :class:`InputError` for photographs or a network
    that do not serve.
    """
    output = Output.of(output)
    with process_group(torch.device("cpu")):
        network = open_saliency(plan.model, plan.preset, threads=plan.threads)
        plan = replace(plan, model=network.path, preset=network.preset)
        ids, settings = data.ids(plan.list_name), _settings(data, plan)
        data.require(ids)
        maps = _Maps(data, network, output.folder)
        ours = distributed.first_alone(lambda: _begin(maps, ids, output))
        if ours:
            with image_run(
                output,
                settings,
                ids=ours,
                results=("*.png",),
                check=maps.check,
                what="saliency maps",
                owns=made_here,
            ) as run:
                _make(maps, run)
    return output.folder


def _settings(data: DataRoot, plan: SaliencyPlan) -> Settings:
    settings = settings_of(data, plan)
    values = {name: value for name, value in settings.values.items() if name not in _CLASSES}
    return Settings(values, settings.free)


def _begin(maps: _Maps, ids: Sequence[str], output: Output) -> list[str]:
    """Return the ids whose maps this run makes; try a new network before anything is written."""
    ours = maps.without_foreign(ids)
    if ours and (output.overwrite or not (output.folder / RECORD).is_file()):
        # Else the record of a network that does not serve would stand in the folder
        maps.find(maps.read(ours[0]))
    if len(ours) < len(ids):
        made = set(ours)
        log.warning(
            "%s: %d of %d photographs have maps that this command did not make, %s the first: they "
            "stay as they are%s",
            output.folder,
            len(ids) - len(ours),
            len(ids),
            next(image_id for image_id in ids if image_id not in made),
            ", also with --overwrite: move them away to have them made" * output.overwrite,
        )
    return ours


def _make(maps: _Maps, run: OutputRun) -> None:
    """Make the maps that are left to do; files are read and written beside the network."""
    made = np.zeros(2, dtype=np.int64)  # maps, and those that say nothing
    bar = tqdm(
        read_ahead(run.todo, maps.read),
        total=len(run.todo),
        desc="saliency",
        unit="image",
        mininterval=1.0,
        disable=distributed.rank() > 0,
    )
    with ThreadPoolExecutor(1) as writer, bar:
        pending: Future[None] | None = None
        for photo in bar:
            values = maps.find(photo)
            made += 1, says_nothing(values)
            if pending is not None:
                pending.result()
            pending = writer.submit(maps.write, photo, values)
        if pending is not None:
            pending.result()
    distributed.sum_counts(made)
    if made[0] > 1 and made[0] == made[1] and distributed.rank() == 0:
        log.warning(
            "warning: all %d maps are all black or all white, or nearly so: %s may be no saliency "
            "network, or want another --preset",
            made[0],
            maps.network.path,
        )
