"""Masks of photographs that belong to no data set, by a trained classifier or segmentation network."""

from __future__ import annotations

import glob
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import output_folder, write_bytes, write_json
from smaf.core.images import IMAGE_SUFFIXES, read_image, write_mask
from smaf.core.labels import read_image_labels
from smaf.core.predict_settings import PredictSettings
from smaf.ops import (
    cams_to_mask,
    normalise_maps,
    peak_scores,
    refine_cams,
    refined_mask,
    require_crf,
    view_logits,
)
from smaf.report.pictures import overlay_mask

log = logging.getLogger("smaf")
PREDICTIONS = "predictions.json"


def find_photographs(arguments: Sequence[str]) -> list[Path]:
    """The photographs that files, folders (not their subfolders) and globs name, each once, in order.

    Raises :class:`InputError` where an argument names none, or where two photographs would get the same mask file.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        else:
            paths = [path] if path.is_file() else [Path(p) for p in sorted(glob.glob(argument, recursive=True))]
            paths = [p for p in paths if p.is_file()]
        if not paths:
            raise MissingInputError(f"{argument} names no photograph: expected an image file, a folder of them "
                                    f"({', '.join(s for s in IMAGE_SUFFIXES if s.islower())}) or a glob")
        for path in paths:  # one file may be named in two ways
            found.setdefault(path.resolve(), path)
    stems: dict[str, Path] = {}
    for path in found.values():
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise InputError(f"{other} and {path} would both be written to {path.stem}.png: rename one, or predict "
                             "them into two folders")
    return list(found.values())


@dataclass(frozen=True)
class Labels:
    """What the user says of the photographs: one set for all, or a table by stem; neither: the scores decide."""

    common: frozenset[int] | None = None
    table: Mapping[str, np.ndarray] | None = None

    @staticmethod
    def read(text: str | None, class_names: Sequence[str]) -> Labels:
        """Read `--labels`: names separated by commas, or a CSV file with the columns image and labels.

        Names that are no class of the weights are ignored, with one warning for all.
        """
        if text is None:
            return Labels()
        unknown: set[str] = set()
        if Path(text).suffix.lower() in {".csv", ".npy"} or Path(text).is_file():
            labels = Labels(table=read_image_labels(Path(text), class_names, unknown=unknown))
        else:
            names = [name.strip() for name in text.split(",") if name.strip()]
            unknown = {name for name in names if name not in class_names}
            labels = Labels(common=frozenset(class_names.index(name) for name in names if name in class_names))
            if not labels.common:
                raise InputError(f"--labels {text}: none of these is a class of the weights, which have "
                                 f"{', '.join(class_names)}")
        if unknown:
            log.warning("warning: --labels: %s ignored; the weights have %s", ", ".join(sorted(unknown)),
                        ", ".join(class_names))
        return labels

    def check(self, photographs: Sequence[Path]) -> None:
        """Raise :class:`InputError` where a table lacks a photograph."""
        missing = [path for path in photographs if self.table is not None and path.stem not in self.table]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise InputError(f"--labels has no line for {missing[0].name}{more}: add one, leave the photograph out, or "
                             "predict without --labels")

    def of(self, photograph: Path) -> list[int] | None:
        """Class indices that the photograph shows; None: the scores decide."""
        if self.common is not None:
            return sorted(self.common)
        return None if self.table is None else [int(c) for c in np.flatnonzero(self.table[photograph.stem])]


class Network(Protocol):
    """What predicts: a network behind ONNX Runtime or PyTorch (:mod:`smaf.engine.networks`)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, without background."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Of RGB in 0..1."""

    @property
    def std(self) -> tuple[float, ...]:
        """Of RGB in 0..1."""

    @property
    def segments(self) -> bool:
        """Whether its softmax is the result: a segmentation network. A classifier's maps are fused as in stage 1."""

    def cam(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → (n, C+1, h', w') logits, the last channel background.

        Images are RGB, normalised with `mean` and `std`.
        """


@dataclass(frozen=True)
class Predictor:
    """A network and how it is used; `crf` refines its maps."""

    network: Network
    settings: PredictSettings
    crf: bool = False

    def __call__(self, photo: Image.Image, labels: Sequence[int] | None = None) -> tuple[np.ndarray, dict[int, float]]:
        """RGB photograph → (H, W) uint8 mask, 0 background, class index + 1; and the score of each class taken.

        `labels` are the class indices that it shows; None takes those whose score reaches the settings' threshold.
        A classifier's maps are scaled to 1 and cut at the background threshold, as in stage 3; of a segmentation
        network each pixel takes the most probable of the classes and background.
        """
        s = self.settings
        views = view_logits(self.network.cam, photo, mean=self.network.mean, std=self.network.std, scales=s.scales,
                            flip=s.flip, long_side=s.long_side)
        maps = views.maps()
        scores = peak_scores(maps).tolist()
        classes = [c for c, score in enumerate(scores) if score >= s.score] if labels is None else list(labels)
        kept = maps[classes] if s.label_filter == "maps" else views.maps(classes, label_filter=s.label_filter)
        size = (photo.height, photo.width)
        if self.network.segments:
            cams = dict(zip(classes, kept, strict=True))
            mask = refined_mask(refine_cams(photo, cams, background=None) if self.crf and cams else cams, size)
            return mask, {c: scores[c] for c in classes}
        cams, background = normalise_maps(kept, classes), 0.2 if s.background is None else s.background
        if self.crf and cams:
            background = background if s.crf_background is None else s.crf_background
            mask = refined_mask(refine_cams(photo, cams, background=background), size)
        else:
            mask = cams_to_mask(cams, threshold=background, size=size)
        return mask, {c: scores[c] for c in classes}


def _outputs(path: Path) -> tuple[str, str]:
    """The names of a photograph's mask and overlay."""
    return f"{path.stem}.png", f"{path.stem}_overlay.jpg"


def _entry(path: Path, mask: np.ndarray, scores: dict[int, float], names: Sequence[str]) -> dict[str, Any]:
    """What `predictions.json` says of a photograph."""
    classes = [{"name": names[c], "share": round(float((mask == c + 1).mean()), 5), "score": round(score, 5)}
               for c, score in scores.items()]
    mask_name, overlay_name = _outputs(path)
    return {"photograph": str(path), "mask": mask_name, "overlay": overlay_name,
            "width": mask.shape[1], "height": mask.shape[0], "classes": classes}


def _write_overlay(path: Path, photo: Image.Image, mask: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(overlay_mask(photo, mask)).save(stream, format="JPEG", quality=92)
    write_bytes(path, stream.getvalue())


def predict(predictor: Predictor, photographs: Sequence[Path], labels: Labels, *, out: Path, weights: str) -> None:
    """Write `<stem>.png`, `<stem>_overlay.jpg` of each photograph and one `predictions.json` into `out`.

    A photograph that cannot be read does not stop the others; :class:`InputError` names it at the end.
    """
    if predictor.crf:
        require_crf()
    labels.check(photographs)
    output_folder(out)
    names, faults = predictor.network.class_names, []
    entries: list[dict[str, Any]] = []
    written = {(out / name).resolve() for path in photographs for name in _outputs(path)}
    for path in photographs:
        if path.resolve() in written:
            raise InputError(f"--out {out} holds the photograph {path.name}, which a mask or overlay would replace: "
                             "choose another folder")
    for path in photographs:
        try:
            photo = read_image(path)
        except InputError as error:
            log.warning("warning: %s", error)
            faults.append(str(error))
            continue
        mask, scores = predictor(photo, labels.of(path))
        entries.append(_entry(path, mask, scores, names))
        write_mask(out / entries[-1]["mask"], mask)
        _write_overlay(out / entries[-1]["overlay"], photo, mask)
        shown = ", ".join(f"{e['name']} {100 * e['share']:.0f} %" for e in entries[-1]["classes"]) or "background only"
        log.info("%s: %s", path, shown)
    s = predictor.settings
    write_json(out / PREDICTIONS, {"classes": ["background", *names], "weights": weights, "crf": predictor.crf,
                                   "background": s.crf_background if predictor.crf and s.crf_background else
                                   s.background, "score": s.score, "photographs": entries})
    log.info("wrote %d masks to %s", len(entries), out)
    if faults:
        raise InputError(f"{len(faults)} of {len(photographs)} photographs were left out: {faults[0]}")
