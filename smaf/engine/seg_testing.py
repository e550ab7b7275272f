"""Stage 4: masks of a list by a segmentation network, refined by dense CRF in several processes,
and their mIoU."""

from __future__ import annotations

import io
import logging
import tarfile
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError, during
from smaf.core.files import write_bytes, write_text
from smaf.core.images import read_image, read_mask, write_mask
from smaf.core.parallel import worker_pool
from smaf.core.views import MAX_VIEW_PIXELS, Views
from smaf.data.layout import DataRoot
from smaf.engine.inference import read_ahead
from smaf.engine.outputs import output_run
from smaf.engine.predicting import Network
from smaf.ops import SizedMaps, bounded_photo, crf_cams, refined_mask, require_crf, view_logits

log = logging.getLogger("smaf")
SERVER_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
_AHEAD = 3  # photographs a process whose probabilities wait for CRF


def probabilities(
    network: Network,
    photo: Any,
    views: Views,
    classes: Sequence[int] | None = None,
    score: float = 0.0,
) -> tuple[list[int], SizedMaps]:
    """Class indices, and for each its map in 0..1, the mean softmax over the views; background has
    what is left to 1.

    With `classes` these are taken, without, those whose score (:func:`smaf.ops.peak_scores`)
    reaches `score`. With `views.label_filter` `"logits"` the softmax is over these and background.
    """
    logits = view_logits(network.cam, photo, mean=network.mean, std=network.std, views=views)
    if classes is None:
        maps = logits.sized_maps()
        if score <= 0:
            return list(range(len(maps.maps))), maps
        classes = np.flatnonzero(maps.peak_scores() >= score).tolist()
    return list(classes), logits.sized_maps(classes)


def _mask(classes: Sequence[int], maps: SizedMaps) -> np.ndarray:
    """(H, W) uint8: the most probable of the classes and background."""
    return maps.mask(
        lambda piece: refined_mask(dict(zip(classes, piece, strict=True)), piece.shape[1:])
    )


def _refine(photo_path: Path, classes: Sequence[int], half: np.ndarray, out: Path) -> None:
    """In a worker: CRF on the softmax, as DeepLab-V2 has it; writes the mask. Large photographs at
    a smaller size."""
    with during(f"refining the mask of {photo_path}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the size cap, which the parent tells once
        photo = read_image(photo_path)
        smaller = bounded_photo(photo)
        maps = SizedMaps(half.astype(np.float32), smaller.size).full()
        refined = crf_cams(smaller, dict(zip(classes, maps, strict=True)), background=None)
        planes = (
            np.stack(list(refined.values()))
            if refined
            else np.zeros((0, smaller.height, smaller.width))
        )
        write_mask(out, _mask(classes, SizedMaps(planes, photo.size)))


def segment_list(
    network: Network,
    data: DataRoot,
    *,
    list_name: str,
    views: Views,
    crf: bool,
    out: Path,
    facts: Mapping[str, Any],
    num_workers: int = 2,
    overwrite: bool = False,
    use_labels: bool = False,
    score: float = 0.0,
) -> None:
    """Write palette PNGs `out/<id>.png`, values 0 background, class index + 1.

    With `use_labels` only the image-level labels' classes are told apart, else those that reach
    `score`. Masks that are there stay. With `crf` the probabilities are refined in `num_workers`
    processes while the network goes on.
    """
    if not network.segments:
        raise InputError(
            "--weights hold a classifier: its masks are made by stage 3 (gen_pm), or by `smaf "
            "predict`"
        )
    if network.class_names != data.classes.names:
        raise InputError(
            f"--weights have the classes {', '.join(network.class_names)}; the data set keeps "
            f"{', '.join(data.classes.names)}: name the right --classes, or other weights"
        )
    if crf:
        require_crf()
    ids = data.ids(list_name)
    data.require(ids)
    if use_labels:
        data.labels_of(ids)  # names an image that has none
    with output_run(
        out, facts, results=("*.png",), images=len(ids), overwrite=overwrite, per_image=True
    ) as run:
        run.begin()
        write_text(out / "classes.txt", "\n".join(["background", *data.classes.names]) + "\n")
        todo = run.left(ids, lambda i: read_mask(out / f"{i}.png"))
        waiting: deque[Future[None]] = deque()
        told = False
        with worker_pool(max(1, num_workers)) if crf else nullcontext() as pool:
            bar = tqdm(
                zip(todo, read_ahead(todo, data.photo), strict=True),
                total=len(todo),
                unit="image",
                mininterval=1.0,
            )
            for image_id, photo in bar:
                with during(f"segmenting {data.photo_path(image_id)}"):
                    shown = (
                        np.flatnonzero(data.all_labels[image_id]).tolist() if use_labels else None
                    )
                    classes, maps = probabilities(network, photo, views, shown, score)
                path = out / f"{image_id}.png"
                if pool is None:
                    write_mask(path, _mask(classes, maps))
                    continue
                if photo.width * photo.height > MAX_VIEW_PIXELS and not told:
                    log.warning(
                        "warning: the dense CRF of %s, and of others as large, works on %d pixels "
                        "(size cap)",
                        data.photo_path(image_id),
                        MAX_VIEW_PIXELS,
                    )
                    told = True
                half = maps.maps.astype(np.float16)
                waiting.append(pool.submit(_refine, data.photo_path(image_id), classes, half, path))
                while len(waiting) > _AHEAD * max(1, num_workers):
                    waiting.popleft().result()
            for future in waiting:
                future.result()
    log.info("wrote %d masks to %s", len(ids), out)


def save_for_server(data: DataRoot, ids: Sequence[str], *, masks: Path, out: Path) -> Path:
    """Pack `masks/<id>.png` as PASCAL VOC's evaluation server takes them; return the archive's
    path.

    `out/results.tgz` holds `results/VOC2012/Segmentation/comp6_test_cls/<id>.png`: palette PNGs of
    the photographs' size with VOC's 20 classes. comp6: trained on more than VOC's training masks.
    """
    if data.classes.names != VOC_CLASSES:
        raise InputError(
            f"--save_for_server: VOC's server takes its 20 classes, the data set keeps "
            f"{', '.join(data.classes.names)}: leave out --classes"
        )
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for image_id in ids:
            archive.add(masks / f"{image_id}.png", arcname=f"{SERVER_FOLDER}/{image_id}.png")
    path = out / "results.tgz"
    write_bytes(path, stream.getvalue())
    return path
