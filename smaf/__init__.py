"""SMAF: pixel masks from image-level labels (weakly supervised semantic segmentation).

The pipeline, one stage a module: :mod:`smaf.train_eps` (0), :mod:`smaf.gen_fusion` (1),
:mod:`smaf.train_fusion` (2), :mod:`smaf.gen_pm` (3), :mod:`smaf.evaluate`.
"""

import sys

__version__ = "0.4.0"

if sys.argv[:1] == ["-m"]:  # `python -m smaf.STAGE`: its modules load now, for seconds
    from smaf.core.terminal import stop_at_once

    stop_at_once()
