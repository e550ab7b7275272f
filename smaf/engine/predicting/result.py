"""What the face for Python gives of a photograph: its mask, its maps, and the pictures of them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from smaf.core.errors import InputError, printable
from smaf.core.files import output_folder
from smaf.core.images import write_mask
from smaf.engine.predicting.overlay import draw_overlay, write_overlay
from smaf.engine.predicting.predictor import Prediction
from smaf.engine.predicting.result_files import Photograph, is_result, result_names

_NOTEBOOK_SIDE = 1024  # pixels of the longer side of the picture that a notebook shows


@dataclass(frozen=True)
class Result:
    """What a network makes of one photograph. A notebook shows it as a picture.

    Args:
        photo: the photograph, RGB, W×H.
        prediction: its mask and maps, by class index.
        class_names: of all classes of the network, without background.
        name: stem of the files that :meth:`save` writes; None: unknown.
    """

    photo: Image.Image
    prediction: Prediction
    class_names: tuple[str, ...]
    name: str | None = None

    @property
    def mask(self) -> np.ndarray:
        """(H, W) uint8: 0 background, else the class's place in `class_names`, counted from 1."""
        return self.prediction.mask

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the photograph shows: by its labels, else by their scores."""
        return tuple(self.class_names[c] for c in self.prediction.scores)

    @property
    def scores(self) -> dict[str, float]:
        """Name → score in 0..1, of :attr:`classes` (:func:`smaf.ops.peak_scores`)."""
        return {self.class_names[c]: score for c, score in self.prediction.scores.items()}

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """Name → (H, W) float32 in 0..1, of :attr:`classes`; the maps that decided the mask.

        A classifier's fused maps, scaled to a maximum of 1; of a segmentation network, or where CRF
        refined them, probabilities.
        """
        return {self.class_names[c]: plane for c, plane in self.prediction.maps().items()}

    def overlay(self, *, legend: bool = True) -> Image.Image:
        """The mask's colours over the photograph, with `legend` the classes' names below it.

        RGB; a photograph longer than 4096 pixels is made smaller.
        """
        return draw_overlay(self.photo, self.mask, self.class_names, legend=legend)

    def save(
        self, folder: str | os.PathLike[str], *, name: str | None = None, legend: bool = True
    ) -> Path:
        """Write `<stem>.png` and `<stem>_overlay.jpg` as `smaf predict` does; return the first.

        Args:
            folder: made where it does not exist. Earlier masks and overlays there are replaced.
            name: the stem; by default that of the photograph's file, which an image or array lacks.
            legend: as in :meth:`overlay`.

        Raises :class:`ValueError` without a name, and where another file would be replaced.
        """
        stem = self.name if name is None else name
        if not stem or PurePath(stem).name != stem or not stem.strip("."):
            raise InputError(
                f"name {stem!r}: expected that of a file without folder and suffix; a result that "
                "was made of an image or array needs one: save(folder, name='photo')"
            )
        place = output_folder(Path(folder))
        paths = [
            place / file for file in result_names(place, Photograph(Path(stem), PurePath(stem)))
        ]
        for path in paths:
            if os.path.lexists(path) and not is_result(path):
                raise InputError(
                    f"{printable(path)} is there and no mask or overlay of this project: choose "
                    "another folder, or another name"
                )
        write_mask(paths[0], self.mask)
        write_overlay(paths[1], self.overlay(legend=legend))
        return paths[0]

    def _repr_png_(self) -> bytes:
        """The overlay as PNG, at most 1024 pixels wide and high, for notebooks."""
        stream = io.BytesIO()
        picture = draw_overlay(self.photo, self.mask, self.class_names, max_side=_NOTEBOOK_SIDE)
        picture.save(stream, "PNG")
        return stream.getvalue()

    def __repr__(self) -> str:
        of = f" of {printable(self.name)}" if self.name else ""
        shown = ", ".join(f"{name} {score:.2f}" for name, score in self.scores.items())
        size = f"{self.photo.width}×{self.photo.height}"
        return f"<Result{of}, {size}: {shown or 'background only'}>"
