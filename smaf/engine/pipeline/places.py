"""Where a run writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smaf.core.record import RECORD
from smaf.engine.outputs import MIRRORED, SEGMENTER, Places


@dataclass(frozen=True)
class RunPlaces(Places):
    """Where a run writes: where the stages do, and what it makes of their results."""

    @property
    def student_maps(self) -> Path:
        """Fused maps of all photographs by the last classifier, which stage 3 cuts."""
        return self.logdir / "cam_student"

    @property
    def pseudo_masks(self) -> Path:
        """Stage 3's pseudo masks of all photographs, `<id>.png`, which stage 4 learns."""
        return self.logdir / "pseudo_mask"

    @property
    def network_maps(self) -> Path:
        """Fused maps of all photographs by stage 4's network, labels known."""
        return self.logdir / "cam_network"

    @property
    def known_masks(self) -> Path:
        """The masks that are cut from the network's maps as stage 3 cuts the classifier's."""
        return self.logdir / "network_mask"

    @property
    def by_network(self) -> bool:
        """Whether the run's masks are the network's, as far as it has come."""
        return (self.known_masks / RECORD).is_file()

    @property
    def masks(self) -> Path:
        """The run's masks of all photographs, `<id>.png`: the last that it made."""
        return self.known_masks if self.by_network else self.pseudo_masks

    @property
    def maps(self) -> Path:
        """Fused maps that :attr:`masks` are cut from."""
        return self.network_maps if self.by_network else self.student_maps

    @property
    def network_masks(self) -> Path:
        """The network's masks, labels unknown, of the photographs that are scored or shown."""
        return self.logdir / "segmented"

    @property
    def network(self) -> Path:
        """The segmentation network that `smaf predict` takes."""
        return self.logdir / SEGMENTER

    @property
    def mirrored(self) -> Path:
        """The run's masks again, in the folders of the photographs."""
        return self.logdir / MIRRORED

    @property
    def scores(self) -> Path:
        """What the evaluations wrote."""
        return self.logdir / "scores"

    @property
    def stage_folders(self) -> tuple[Path, ...]:
        """The folders that the stages write to."""
        trained = (self.eps, self.student, self.segmenter)
        maps = (self.fused, self.refined, self.student_maps, self.pseudo_masks)
        network = (self.network_masks, self.network_maps, self.known_masks)
        return (*(path.parent for path in trained), *maps, *network)

    def list(self, name: str) -> Path:
        """The file of one of the run's own lists."""
        return self.logdir / "lists" / f"{name}.txt"
