"""Draw README's pictures: images/framework.png, and images/PM.png from the demo's test images.

Run `bash script/demo.sh` first, then `.venv/bin/python script/make_images.py`. The photographs are
the project's own renderings, so the pictures may be passed on.
"""

from __future__ import annotations

from pathlib import Path

from smaf.data.layout import open_data
from smaf.engine.demo_report import picture_row
from smaf.ops import crf_available
from smaf.report.framework import draw_framework
from smaf.report.gallery import write_gallery

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("photograph", "CAM", "reactivated target", "pseudo mask", "mask after CRF", "truth")


def main(demo: Path = Path("demo"), rows: int = 5) -> None:
    """Write both pictures; the gallery shows the first test image of each class."""
    draw_framework(ROOT / "images" / "framework.png")
    data = open_data(demo / "data")
    ids = data.ids("test")
    first = [
        next(i for i in ids if data.all_labels[i][c] and data.all_labels[i].sum() == 1)
        for c in range(data.num_classes)
    ][:rows]
    pictures = [
        dict(
            picture_row(
                data,
                i,
                demo,
                cams={"CAM": "cam_eps", "fused map": "cam_fused"},
                target="cam_refined_test",
                masks="pseudo_mask",
                crf=crf_available(),
            ).pictures
        )
        for i in first
    ]
    columns = [c for c in COLUMNS if all(row[c] is not None for row in pictures)]
    write_gallery(
        ROOT / "images" / "PM.png", [[row[c] for c in columns] for row in pictures], list(columns)
    )


if __name__ == "__main__":
    main()
