"""A seeded split of photographs by the combinations of their labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping


def _rank(seed: int, image_id: str) -> str:
    return hashlib.sha256(f"{seed}:{image_id}".encode("utf-8", "surrogateescape")).hexdigest()


def split_ids(
    labels: Mapping[str, frozenset[int]], *, share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Return the sorted ids of train and of val; `labels` are id → classes that it shows.

    Of n photographs val gets round(share · n), at least 1 where share > 0 and n > 1. Each
    combination of labels gives its share, rounded so that the sum fits (largest remainders first);
    which of its photographs are taken, the seed decides, not the order. Then, where a class that
    has two photographs or more is in one part alone, one of its photographs moves to the other if
    no other class loses its last one by that.

    Raises ValueError where the share is not in 0..1, without 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share of {share}, expected 0 to below 1")
    combinations: dict[tuple[int, ...], list[str]] = {}
    for image_id in sorted(labels, key=lambda image_id: (_rank(seed, image_id), image_id)):
        combinations.setdefault(tuple(sorted(labels[image_id])), []).append(image_id)
    val: set[str] = set()
    for combination, number in _numbers(combinations, share, seed).items():
        val.update(combinations[combination][:number])
    train = set(labels) - val
    if val:
        _spread(labels, train, val, seed)
    return sorted(train), sorted(val)


def _numbers(
    combinations: Mapping[tuple[int, ...], list[str]], share: float, seed: int
) -> dict[tuple[int, ...], int]:
    """How many photographs of each combination go to val."""
    sizes = {combination: len(ids) for combination, ids in combinations.items()}
    total = sum(sizes.values())
    wanted = max(round(share * total), 1) if share > 0 and total > 1 else 0
    numbers = {combination: int(share * size) for combination, size in sizes.items()}
    by_remainder = sorted(
        sizes, key=lambda c: (numbers[c] - share * sizes[c], _rank(seed, ",".join(map(str, c))), c)
    )
    for combination in by_remainder[: max(0, wanted - sum(numbers.values()))]:
        numbers[combination] += 1
    return numbers


def _count(labels: Mapping[str, frozenset[int]], ids: Iterable[str]) -> Counter[int]:
    return Counter(c for image_id in ids for c in labels[image_id])


def _spread(
    labels: Mapping[str, frozenset[int]], train: set[str], val: set[str], seed: int
) -> None:
    """Move photographs, the rarest class first, until each class is in both parts where it can."""
    total = _count(labels, labels)
    for c in sorted(total, key=lambda c: (total[c], c)):
        for source, target in ((train, val), (val, train)):
            there = _count(labels, source)
            if total[c] < 2 or any(c in labels[i] for i in target):
                continue
            movable = [i for i in source if c in labels[i] and all(there[k] > 1 for k in labels[i])]
            if movable and len(source) > 1:
                moved = min(movable, key=lambda i: (len(labels[i]), _rank(seed, i)))
                source.remove(moved)
                target.add(moved)
