"""How PyTorch's threads wait, and where its tensors lie: set before it is loaded."""

from __future__ import annotations

import os
import sys

from smaf.core.allocator import keep_freed_memory

# Two threads on two cores: beside a busy process a training step took 2.9 times as long as alone
# with GNU OpenMP's own default (threads spin for milliseconds while they wait for each other), 2.0
# times with this one; alone it costs 2 to 5 %
_SPINS = "5000"


def prepare_environment() -> None:
    """Set defaults in the environment of this process and its workers; what the user has set stays.

    Has no effect once PyTorch is loaded, which reads them then.
    """
    if "torch" in sys.modules:
        return
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    if not (_is_command() and "THP_MEM_ALLOC_ENABLE" not in os.environ and keep_freed_memory()):
        # Large pages for large tensors, where Linux gives them on demand: fewer page faults
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _is_command() -> bool:
    """Whether this process is a command of this package, not somebody's program that imports it."""
    return sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0] if sys.argv else "") == "smaf"
