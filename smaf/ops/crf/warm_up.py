"""Compile the dense CRF's loops, which takes seconds that its first use would wait for.

python -m smaf.ops.crf.warm_up
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from smaf.ops.crf.uses import crf_cams


def main() -> None:
    """Run the CRF on a small picture of one class, of two and of three: each has its own code."""
    photo = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    for classes in (1, 2, 3):
        cams = {c: np.full((8, 8), 0.5 / (c + 1), dtype=np.float32) for c in range(classes)}
        crf_cams(photo, cams, background=0.3)


if __name__ == "__main__":
    main()
