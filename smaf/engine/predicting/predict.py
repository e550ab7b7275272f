"""`smaf predict`: masks and overlays of many photographs, and the record by which a run goes on."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.checksums import contents
from smaf.core.command import is_memory_error
from smaf.core.errors import InputError, during, printable
from smaf.core.files import drop_leftovers
from smaf.core.images import read_image, read_mask, write_mask
from smaf.engine.locks import locked
from smaf.engine.predicting.overlay import draw_cams, draw_overlay, write_overlay
from smaf.engine.predicting.photo_labels import Labels
from smaf.engine.predicting.predictions import Predictions
from smaf.engine.predicting.predictions_page import check_page, write_predictions_page
from smaf.engine.predicting.predictor import Prediction, Predictor
from smaf.engine.predicting.result_files import Photograph, Pictures, cam_names, is_result

log = logging.getLogger("smaf")
_PLAIN = Pictures()


def predict(
    predictor: Predictor,
    photographs: Sequence[Photograph],
    labels: Labels,
    *,
    out: Path,
    weights: str,
    weights_file: Path,
    overwrite: bool = False,
    pictures: Pictures = _PLAIN,
) -> None:
    """Write the mask and overlay of each photograph and one `predictions.json` into `out`.

    A run goes on where an earlier one with the same settings stopped
    (:class:`smaf.engine.predicting.predictions.Predictions`). A photograph that cannot be read, or
    needs more memory than there is, does not stop the others; :class:`InputError` names it at the
    end. `pictures` says what is drawn beside the masks.
    """
    labels.check(photographs)
    if pictures.report:
        check_page(out)
    facts, settings = _facts(predictor, weights), _settings(predictor, weights_file)
    given = _given(labels, photographs, predictor.network.class_names)
    with locked(out):
        results = Predictions(
            out,
            photographs,
            facts=facts,
            labels=given,
            overwrite=overwrite,
            settings=settings,
            pictures=pictures,
        )
        for folder in {(out / mask).parent for mask, _ in results.names.values()}:
            drop_leftovers(folder)
        faults = _Run(predictor, labels, results, pictures).work()
        if pictures.report:
            write_predictions_page(out, results.entries, predictor.network.class_names, weights)
    log.info("wrote %d masks to %s", len(results.todo) - len(faults), printable(out))
    if results.redraw:
        log.info("drew %d overlays again", len(results.redraw))
    if faults:
        raise InputError(
            f"{len(faults)} of {len(photographs)} photographs were left out: {faults[0]}"
        )


def _given(
    labels: Labels, photographs: Sequence[Photograph], names: Sequence[str]
) -> dict[Path, list[str] | None]:
    """The class names given for each photograph, None where the scores decide."""
    indices = {photograph.path: labels.of(photograph.path) for photograph in photographs}
    return {
        path: None if shown is None else [names[c] for c in shown]
        for path, shown in indices.items()
    }


def _facts(predictor: Predictor, weights: str) -> dict[str, Any]:
    """What the record says beside the settings."""
    s, crf = predictor.settings, predictor.crf
    return {
        "classes": ["background", *predictor.network.class_names],
        "weights": weights,
        "score": s.score,
        "background": s.crf_background if crf and s.crf_background else s.background,
        **_refining(predictor),
    }


def _refining(predictor: Predictor) -> dict[str, Any]:
    """What records say of CRF, and of saliency where it takes part."""
    saliency = predictor.saliency
    return {
        "crf": predictor.crf,
        **({"crf_side": predictor.crf_side} if predictor.crf else {}),
        **({} if saliency is None else {"saliency_weight": saliency.weight}),
    }


def _settings(predictor: Predictor, weights_file: Path) -> dict[str, Any]:
    """What decides the masks."""
    return {
        **predictor.settings.to_dict(),
        "classes": predictor.network.class_names,
        "weights": contents(weights_file),
        **_refining(predictor),
    }


class _Run:
    """One run over the photographs that are left to do."""

    def __init__(
        self, predictor: Predictor, labels: Labels, results: Predictions, pictures: Pictures
    ) -> None:
        self.predictor, self.labels, self.results = predictor, labels, results
        self.pictures = pictures
        self.told: set[str] = set()  # where warnings came from that were told

    def work(self) -> list[str]:
        """Make the masks; return what is wrong with the photographs that were left out."""
        faults: list[str] = []
        try:
            for photograph in self.results.todo:
                with during(f"predicting photograph {printable(photograph.path)}"):
                    fault = self._one(photograph)
                if fault:
                    log.warning("warning: %s", fault)
                    self.results.leave_out(photograph, fault)
                    faults.append(fault)
            for photograph in self.results.redraw:
                with during(f"drawing the overlay of {printable(photograph.path)}"):
                    self._redraw(photograph)
        finally:
            self.results.write()
        return faults

    def _one(self, photograph: Photograph) -> str:
        """Make and write one photograph's mask, and return what went wrong.

        The text is empty where nothing went wrong.
        """
        path, names = photograph.path, self.predictor.network.class_names
        shown = self.labels.of(path)
        try:
            digest, photo = contents(path), _read(path)
            prediction = self._decide(photo, shown)
            mask = prediction.mask
            entry = _entry(photo, prediction, names)
            mask_name, overlay_name = self.results.names[path]
            write_mask(self.results.folder / mask_name, mask)
            self._draw(photo, mask, overlay_name)
            if self.pictures.cams:
                entry["cams"] = self._draw_cams(photograph, photo, prediction)
        except InputError as error:
            return str(error)
        except Exception as error:
            if not is_memory_error(error):
                raise
            return (
                f"photograph {printable(path)} needs more memory than there is: make it smaller, "
                "or predict it on a machine with more"
            )
        self.results.add(photograph, {**entry, "contents": digest})
        _tell(path, entry["classes"], unlabelled=shown == [])
        return ""

    def _draw(self, photo: Image.Image, mask: np.ndarray, name: str) -> None:
        names = self.predictor.network.class_names
        picture = draw_overlay(photo, mask, names, legend=self.pictures.legend)
        write_overlay(self.results.folder / name, picture)

    def _draw_cams(
        self, photograph: Photograph, photo: Image.Image, prediction: Prediction
    ) -> list[str]:
        """Write the maps' pictures; return their names, the classes in the order of their maps."""
        folder, names = self.results.folder, self.predictor.network.class_names
        files, written = cam_names(folder, photograph, names), []
        for c, picture in draw_cams(photo, prediction):
            path = folder / files[c]
            if os.path.lexists(path) and not is_result(path):
                raise InputError(
                    f"--out {printable(folder)} holds {printable(files[c])}, which the picture of "
                    "a map would replace: choose another folder"
                )
            write_overlay(path, picture)
            written.append(files[c])
        return written

    def _redraw(self, photograph: Photograph) -> None:
        """Write the overlay of a mask that is done."""
        mask, overlay = self.results.names[photograph.path]
        self._draw(_read(photograph.path), read_mask(self.results.folder / mask), overlay)
        self.results.redrawn(photograph)

    def _decide(self, photo: Image.Image, labels: list[int] | None) -> Prediction:
        """Predict; what it warns of becomes a line of the log, each kind once a run."""
        with warnings.catch_warnings(record=True) as caught:
            prediction = self.predictor(photo, labels)
        for warning in caught:
            place = f"{warning.filename}:{warning.lineno}"
            if place not in self.told:
                log.warning("warning: %s; said once", warning.message)
            self.told.add(place)
        return prediction


def _entry(photo: Image.Image, prediction: Prediction, names: Sequence[str]) -> dict[str, Any]:
    """What `predictions.json` says of a photograph's mask."""
    classes = [
        {
            "name": names[c],
            "share": round(float((prediction.mask == c + 1).mean()), 5),
            "score": round(score, 5),
        }
        for c, score in prediction.scores.items()
    ]
    quality = prediction.quality()
    known = {} if quality is None else {"quality": round(quality, 4)}
    return {"width": photo.width, "height": photo.height, "classes": classes, **known}


def _tell(path: Path, classes: Iterable[dict[str, Any]], *, unlabelled: bool) -> None:
    """Log a photograph's classes and their shares of its pixels."""
    nothing = "background only" + (
        ": its labels name no class of the weights" if unlabelled else ""
    )
    shares = ", ".join(f"{entry['name']} {100 * entry['share']:.0f} %" for entry in classes)
    log.info("%s: %s", printable(path), shares or nothing)


def _read(path: Path) -> Image.Image:
    """The photograph of a file; a link that leads nowhere is said to be one."""
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"photograph {printable(path)} is a link to {printable(os.readlink(path))}, which "
            "leads to no file: mend the link or remove it"
        )
    return read_image(path)
