"""Where a data set keeps masks that somebody has corrected."""

CORRECTED = "CorrectedMasks"
