"""Which photographs take part in what of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smaf.core.files import write_text
from smaf.data.layout import DataRoot
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.pipeline.plan import RunPlan
from smaf.engine.truth import require_shown

ROWS = 40  # photographs whose masks by the network the report shows, beside the scored ones
CHOSEN_ON = 300  # photographs that a threshold is chosen on, at most


@dataclass(frozen=True)
class Lists:
    """Which photographs take part in what.

    Args:
        train: trained on.
        photographs: all, which get masks.
        thresholds: of `train`, with true masks: the background threshold is chosen on them.
        scored: of the validation list, with true masks.
        rows: those that the network segments for the report.
        corrected: those with a corrected mask, where the run takes them.
    """

    train: tuple[str, ...]
    photographs: tuple[str, ...]
    thresholds: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()

    @property
    def segmented(self) -> tuple[str, ...]:
        """Those that the network segments."""
        return tuple(dict.fromkeys((*self.scored, *self.rows)))

    @property
    def learned(self) -> tuple[str, ...]:
        """Those whose corrected masks are trained on."""
        trained = set(self.train)
        return tuple(i for i in self.corrected if i in trained)

    def write(self, at: RunPlaces) -> None:
        """Write the lists to the run's folder, where they are not there already; none is empty."""
        for name in ("train", "photographs", "thresholds", "scored", "segmented"):
            text = "".join(f"{image_id}\n" for image_id in getattr(self, name))
            path = at.list(name)
            if not text:
                path.unlink(missing_ok=True)  # of a run that had such photographs
            elif not (path.is_file() and path.read_bytes() == text.encode()):
                write_text(path, text)


def spread(ids: Sequence[str], count: int) -> tuple[str, ...]:
    """At most `count` of `ids`, evenly spaced, in their order.

    Example:
        >>> spread("abcdefg", 3)
        ('a', 'c', 'e')
    """
    count = min(count, len(ids))
    return tuple(ids[index * len(ids) // count] for index in range(count))


def lists_of(data: DataRoot, plan: RunPlan) -> Lists:
    """The photographs of a run.

    Masks are made of those on the lists of training and validation and, where the data set has
    such a list, `all`. No threshold is chosen on what people corrected: the student learned that.
    Raises :class:`InputError` where photographs, labels or lists are missing, or true masks show no
    class.
    """
    train, val = tuple(data.ids(plan.list_name)), list[str]()
    if plan.val_list != RunPlan().val_list or data.list_path(plan.val_list).is_file():
        val = data.ids(plan.val_list)
    others = tuple(data.ids("all")) if data.list_path("all").is_file() else ()
    photographs = tuple(dict.fromkeys((*train, *val, *others)))
    data.require(photographs, labels=True)
    unjudged = set(data.missing("mask", photographs))
    corrected = tuple(data.corrected_ids(photographs)) if plan.corrected else ()
    # without saliency maps there is no self-training: the classifier has not learned them
    left_out = unjudged | (set(corrected) if plan.saliency else set())
    chosen_on = spread([i for i in train if i not in left_out], CHOSEN_ON)
    on_train = set(train)
    unseen = [i for i in val if i not in on_train]
    scored = tuple(i for i in unseen if i not in unjudged)
    for ids, name in ((chosen_on, plan.list_name), (scored, plan.val_list)):
        if ids:
            require_shown(data, ids, name)
    rows, first = spread(unseen, ROWS), set(unseen)
    rows += spread([i for i in photographs if i not in first], ROWS - len(rows))
    return Lists(train, photographs, chosen_on, scored, rows, corrected)
