"""Draw the pictures of README and docs/: the pipeline, and what the demo made of its list val.

Run `bash script/demo.sh` first, then `.venv/bin/python script/make_images.py`. The photographs are
the project's own renderings, so the pictures may be passed on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from smaf.data.layout import DataRoot, open_data
from smaf.demo import folders
from smaf.engine.demo_report import picture_row

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "images"))  # no package: README's own

from framework import draw_framework
from gallery import write_gallery
from method import method_pictures

IMAGES = Path(__file__).resolve().parents[1] / "images"
COLUMNS = ("photograph", "CAM", "reactivated target", "pseudo mask", "mask after CRF", "truth")


def _pictures(data: DataRoot, image_id: str, demo: Path) -> dict[str, np.ndarray]:
    """Column title → picture, (H, W, 3) uint8 RGB, of a photograph; those that the demo made."""
    row = picture_row(data, image_id, folders(demo))
    return {title: picture for title, picture in row.pictures if picture is not None}


def main(demo: Path = Path("demo"), rows: int = 5) -> None:
    """Write all pictures; the gallery shows the first photograph of each class.

    The method is shown on the first photograph of two classes.
    """
    draw_framework(IMAGES / "framework.png")
    data = open_data(demo / "data")
    ids = data.ids("val")
    two = next(i for i in ids if data.all_labels[i].sum() == 2)
    method_pictures(data, two, demo).write(IMAGES)
    first = [
        next(i for i in ids if data.all_labels[i][c] and data.all_labels[i].sum() == 1)
        for c in range(data.num_classes)
    ][:rows]
    pictures = [_pictures(data, image_id, demo) for image_id in first]
    columns = [title for title in COLUMNS if all(title in row for row in pictures)]
    write_gallery(
        IMAGES / "PM.png", [[row[title] for title in columns] for row in pictures], columns
    )


if __name__ == "__main__":
    main()
