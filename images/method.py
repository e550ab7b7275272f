"""The pictures of docs/method.md: each step of the method on one photograph of the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gallery import write_gallery

from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.engine.demo_report import picture_row
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.trained import trained_classifier
from smaf.ops import fuse_cams
from smaf.report.pictures import overlay_cam, overlay_mask

SCALES = (0.5, 1.0, 1.5)
LONG_SIDE = 256  # at scale 1, as in the demo

Picture = np.ndarray


@dataclass(frozen=True)
class MethodPictures:
    """One photograph of a finished demo, whose folders are `at`, and what the steps make of it."""

    data: DataRoot
    at: RunPlaces
    image_id: str
    row: Mapping[str, Picture]  # of the demo's page

    def inputs(self) -> dict[str, Picture]:
        """What stage 0 reads, but for the labels."""
        grey = np.asarray(self.data.saliency(self.image_id))
        return {"photograph": self.row["photograph"], "saliency map": np.dstack([grey] * 3)}

    def scales(self) -> dict[str, Picture]:
        """Stage 1: the classifier's maps at each scale, and what they are fused to."""
        model = trained_classifier(self.at.eps, self.data).eval()
        photo, labels = self.data.photo(self.image_id), self.data.all_labels[self.image_id]

        def heat(scales: tuple[float, ...]) -> Picture:
            views = Views(scales, long_side=LONG_SIDE, label_filter="logits")
            return overlay_cam(photo, fuse_cams(model, photo, labels, views=views))

        return {**{f"× {s:g}": heat((s,)) for s in SCALES}, "fused": heat(SCALES)}

    def target(self) -> dict[str, Picture]:
        """Between stages 1 and 2, and stage 2's target."""
        path = self.at.logdir.parent / "ladder/cam_refined" / f"{self.image_id}.npz"
        refined = read_fused(path, num_classes=self.data.num_classes)
        return {
            "fused": self.row["fused map"],
            "refined": overlay_cam(self.data.photo(self.image_id), refined),
            "target": self.row["reactivated target"],
        }

    def masks(self) -> dict[str, Picture]:
        """Stages 3 and 4, and the truth."""
        photo = self.data.photo(self.image_id)
        network = read_mask(self.at.network_masks / f"{self.image_id}.png", size=photo.size)
        return {
            "pseudo mask": self.row["pseudo mask"],
            "after CRF": self.row["mask after CRF"],
            "the network": overlay_mask(photo, network),
            "truth": self.row["truth"],
        }

    def write(self, folder: Path) -> None:
        """Write the strips `method_<part>.jpg`."""
        for part in ("inputs", "scales", "target", "masks"):
            pictures = getattr(self, part)()
            write_gallery(folder / f"method_{part}.jpg", [list(pictures.values())], list(pictures))


def method_pictures(data: DataRoot, image_id: str, demo: Path) -> MethodPictures:
    """The pictures of a photograph of the demo in the folder `demo`."""
    from smaf.demo import folders

    row = picture_row(data, image_id, folders(demo))
    pictures = {title: picture for title, picture in row.pictures if picture is not None}
    return MethodPictures(data, RunPlaces(demo / "run", data.root), image_id, pictures)
