"""Maps of the classes of one photograph, and the constant that stands for background among them."""

from __future__ import annotations

import numpy as np

ClassMaps = dict[int, np.ndarray]  # class index → (H, W) float32
BACKGROUND = 0.2  # a pixel whose maps are all below it is background; SMAF's release has this value
