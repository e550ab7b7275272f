"""Masks of photographs that belong to no data set, by a trained classifier or segmentation
network."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.command import is_memory_error
from smaf.core.errors import InputError, during, printable
from smaf.core.files import drop_leftovers, write_bytes
from smaf.core.images import read_image, write_mask
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import MAX_VIEW_PIXELS
from smaf.engine.locks import locked
from smaf.engine.photo_labels import Labels
from smaf.engine.photographs import OVERLAY_COMMENT, Photograph
from smaf.engine.predicting import Network
from smaf.engine.predictions import Predictions, contents
from smaf.ops import (
    SizedMaps,
    bounded_photo,
    cams_to_mask,
    crf_cams,
    normalise_maps,
    refined_mask,
    require_crf,
    view_logits,
)
from smaf.report.pictures import overlay_mask

log = logging.getLogger("smaf")
MAX_OVERLAY = 4096  # pixels of an overlay's longer side
_HUGE = 16_000_000  # pixels: 64 MB


@dataclass(frozen=True)
class Predictor:
    """A network and how it is used; `crf` refines its maps."""

    network: Network
    settings: PredictSettings
    crf: bool = False

    def __call__(
        self, photo: Image.Image, labels: Sequence[int] | None = None
    ) -> tuple[np.ndarray, dict[int, float]]:
        """RGB photograph → (H, W) uint8 mask, 0 background, class index + 1; and the score of each
        class taken.

        `labels` are the class indices that it shows; None takes those whose score reaches the
        settings' threshold. A classifier's maps are scaled to 1 and cut at the background
        threshold, as in stage 3; of a segmentation network each pixel takes the most probable of
        the classes and background.
        """
        s = self.settings
        logits = view_logits(
            self.network.cam, photo, mean=self.network.mean, std=self.network.std, views=s.views
        )
        maps = logits.sized_maps()
        scores = maps.peak_scores().tolist()
        classes = (
            [c for c, score in enumerate(scores) if score >= s.score]
            if labels is None
            else list(labels)
        )
        kept = (
            SizedMaps(maps.maps[classes], photo.size)
            if s.views.label_filter == "maps"
            else logits.sized_maps(classes)
        )
        if self.crf and classes:
            mask = self._refined(photo, kept, classes).mask(
                lambda piece: refined_mask(dict(zip(classes, piece, strict=True)), piece.shape[1:])
            )
        else:
            mask = self._mask(kept, classes)
        return mask, {c: scores[c] for c in classes}

    def _mask(self, kept: SizedMaps, classes: Sequence[int]) -> np.ndarray:
        """(H, W) uint8: which of `classes`, in the order of the maps `kept`, or background each
        pixel shows."""
        if self.network.segments:
            return kept.mask(
                lambda piece: refined_mask(dict(zip(classes, piece, strict=True)), piece.shape[1:])
            )
        background, maxima = self._background(), kept.maxima()

        def decide(piece: np.ndarray) -> np.ndarray:
            cams = normalise_maps(piece, classes, maxima=maxima)
            return cams_to_mask(cams, threshold=background, size=piece.shape[1:])

        return kept.mask(decide)

    def _refined(self, photo: Image.Image, kept: SizedMaps, classes: Sequence[int]) -> SizedMaps:
        """The maps' probabilities after dense CRF, for a photograph of more than the size cap at a
        smaller size."""
        huge = (
            photo.width * photo.height > _HUGE
        )  # CRF takes up to 1 GB at 2 million pixels, beside the photograph
        smaller = bounded_photo(photo, max_pixels=MAX_VIEW_PIXELS // 2 if huge else MAX_VIEW_PIXELS)
        maps = SizedMaps(kept.maps, smaller.size).full()
        if self.network.segments:
            cams, background = dict(zip(classes, maps, strict=True)), None
        else:
            cams, background = (
                normalise_maps(maps, classes, maxima=kept.maxima()),
                self._background(),
            )
        return SizedMaps(
            np.stack(list(crf_cams(smaller, cams, background=background).values())), photo.size
        )

    def _background(self) -> float:
        s = self.settings
        background = 0.2 if s.background is None else s.background
        return s.crf_background if self.crf and s.crf_background is not None else background


def _entry(
    photo: Image.Image, mask: np.ndarray, scores: dict[int, float], names: Sequence[str]
) -> dict[str, Any]:
    """What `predictions.json` says of a photograph's mask."""
    classes = [
        {
            "name": names[c],
            "share": round(float((mask == c + 1).mean()), 5),
            "score": round(score, 5),
        }
        for c, score in scores.items()
    ]
    return {"width": photo.width, "height": photo.height, "classes": classes}


def write_overlay(path: Path, photo: Image.Image, mask: np.ndarray) -> None:
    """Write the overlay as JPEG; of a photograph longer than :data:`MAX_OVERLAY` a smaller one."""
    if max(photo.size) > MAX_OVERLAY:
        factor = MAX_OVERLAY / max(photo.size)
        size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
        photo = photo.resize(size, Image.Resampling.BICUBIC)
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    stream = io.BytesIO()
    Image.fromarray(overlay_mask(photo, mask)).save(
        stream, format="JPEG", quality=92, comment=OVERLAY_COMMENT
    )
    write_bytes(path, stream.getvalue())


def _read(path: Path) -> Image.Image:
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"photograph {printable(path)} is a link to {printable(os.readlink(path))}, which "
            "leads to no file: mend the link or remove it"
        )
    return read_image(path)


def _decide(
    predictor: Predictor, photo: Image.Image, labels: list[int] | None, told: set[str]
) -> Any:
    """`predictor(photo, labels)`; what it warns of becomes a line of the log, each kind once a
    run."""
    with warnings.catch_warnings(record=True) as caught:
        result = predictor(photo, labels)
    for warning in caught:
        place = f"{warning.filename}:{warning.lineno}"
        if place not in told:
            log.warning("warning: %s; said once", warning.message)
        told.add(place)
    return result


def predict(
    predictor: Predictor,
    photographs: Sequence[Photograph],
    labels: Labels,
    *,
    out: Path,
    weights: str,
    weights_file: Path,
    overwrite: bool = False,
) -> None:
    """Write the mask and overlay of each photograph and one `predictions.json` into `out`.

    A run goes on where an earlier one with the same settings stopped
    (:class:`smaf.engine.predictions.Predictions`). A photograph that cannot be read, or needs more
    memory than there is, does not stop the others; :class:`InputError` names it at the end.
    """
    if predictor.crf:
        require_crf()
    labels.check(photographs)
    s, names = predictor.settings, predictor.network.class_names
    given = {
        p.path: None if (of := labels.of(p.path)) is None else [names[c] for c in of]
        for p in photographs
    }
    facts = {
        "classes": ["background", *names],
        "weights": weights,
        "crf": predictor.crf,
        "score": s.score,
        "background": s.crf_background if predictor.crf and s.crf_background else s.background,
    }
    settings = {
        **s.to_dict(),
        "crf": predictor.crf,
        "classes": names,
        "weights": contents(weights_file),
    }
    faults: list[str] = []
    told: set[str] = set()
    with locked(out):
        results = Predictions(
            out, photographs, facts=facts, labels=given, overwrite=overwrite, settings=settings
        )
        for folder in {(out / mask).parent for mask, _ in results.names.values()}:
            drop_leftovers(folder)
        try:
            for photograph in results.todo:
                with during(f"predicting photograph {printable(photograph.path)}"):
                    fault = _one(predictor, photograph, labels, results, told)
                if fault:
                    log.warning("warning: %s", fault)
                    results.leave_out(photograph, fault)
                    faults.append(fault)
        finally:
            results.write()
    log.info("wrote %d masks to %s", len(results.todo) - len(faults), printable(out))
    if faults:
        raise InputError(
            f"{len(faults)} of {len(photographs)} photographs were left out: {faults[0]}"
        )


def _one(
    predictor: Predictor,
    photograph: Photograph,
    labels: Labels,
    results: Predictions,
    told: set[str],
) -> str:
    """Make and write one photograph's mask; return what is wrong with it, else an empty text."""
    path = photograph.path
    shown = labels.of(path)
    try:
        digest, photo = contents(path), _read(path)
        mask, scores = _decide(predictor, photo, shown, told)
        entry = _entry(photo, mask, scores, predictor.network.class_names)
        mask_name, overlay_name = results.names[path]
        write_mask(results.folder / mask_name, mask)
        write_overlay(results.folder / overlay_name, photo, mask)
    except InputError as error:
        return str(error)
    except Exception as error:
        if not is_memory_error(error):
            raise
        return (
            f"photograph {printable(path)} needs more memory than there is: make it smaller, or "
            "predict it on a machine with more"
        )
    results.add(photograph, {**entry, "contents": digest})
    nothing = (
        "background only"
        if shown != []
        else "background only: its labels name no class of the weights"
    )
    log.info(
        "%s: %s",
        printable(path),
        ", ".join(f"{e['name']} {100 * e['share']:.0f} %" for e in entry["classes"]) or nothing,
    )
    return ""
