"""Where a run writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smaf.engine.outputs import MIRRORED, SEGMENTER, Places


@dataclass(frozen=True)
class RunPlaces(Places):
    """Where a run writes: where the stages do, and what it makes of their results."""

    @property
    def student_maps(self) -> Path:
        """Fused maps of all photographs by the last classifier, which the masks are cut from."""
        return self.logdir / "cam_student"

    @property
    def masks(self) -> Path:
        """Stage 3's pseudo masks of all photographs, `<id>.png`."""
        return self.logdir / "pseudo_mask"

    @property
    def network_masks(self) -> Path:
        """The network's masks, labels unknown, of the photographs that are scored or shown."""
        return self.logdir / "segmented"

    @property
    def network_masks_known(self) -> Path:
        """The network's masks, labels known, of the photographs that are scored."""
        return self.logdir / "segmented_known"

    @property
    def network(self) -> Path:
        """The segmentation network that `smaf predict` takes."""
        return self.logdir / SEGMENTER

    @property
    def mirrored(self) -> Path:
        """The pseudo masks again, in the folders of the photographs."""
        return self.logdir / MIRRORED

    @property
    def scores(self) -> Path:
        """What the evaluations wrote."""
        return self.logdir / "scores"

    @property
    def stage_folders(self) -> tuple[Path, ...]:
        """The folders that the stages write to."""
        trained = (self.eps, self.student, self.segmenter)
        maps = (self.fused, self.refined, self.student_maps, self.masks)
        made = (self.network_masks, self.network_masks_known)
        return (*(path.parent for path in trained), *maps, *made)

    def list(self, name: str) -> Path:
        """The file of one of the run's own lists."""
        return self.logdir / "lists" / f"{name}.txt"
