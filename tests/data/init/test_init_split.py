"""The split: its sizes, its spread over combinations and classes, and what decides it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from smaf.core.files import check_id
from smaf.data.init.ids import MOST_BYTES, make_ids
from smaf.data.init.matching import FileIndex
from smaf.data.init.split import split_ids


def combinations(numbers: dict[tuple[int, ...], int]) -> dict[str, frozenset[int]]:
    """Ids of so many photographs of each combination."""
    shown = [combination for combination, number in numbers.items() for _ in range(number)]
    return {f"p{k:03d}": frozenset(combination) for k, combination in enumerate(shown)}


def test_each_combination_gives_its_share() -> None:
    numbers = {(0,): 50, (1,): 20, (0, 1): 10, (): 20, (2,): 5}
    labels = combinations(numbers)
    train, val = split_ids(labels, share=0.2, seed=0)
    assert Counter(tuple(sorted(labels[i])) for i in val) == {
        (0,): 10, (1,): 4, (0, 1): 2, (): 4, (2,): 1,
    }  # fmt: skip
    assert sorted(train + val) == sorted(labels) and not set(train) & set(val)


def test_the_seed_decides_and_the_order_does_not() -> None:
    labels = combinations({(0,): 30, (1,): 30})
    turned = dict(reversed(labels.items()))
    assert split_ids(labels, share=0.3, seed=1) == split_ids(turned, share=0.3, seed=1)
    assert split_ids(labels, share=0.3, seed=1) != split_ids(labels, share=0.3, seed=2)


def test_rounding_adds_up_over_many_rare_combinations() -> None:
    labels = {f"p{k}": frozenset({k % 5, 5 + k // 5}) for k in range(35)}  # each once
    _, val = split_ids(labels, share=0.2, seed=0)
    assert len(val) >= 7
    for c in range(12):
        assert any(c in labels[i] for i in val), c


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_in_both_parts_where_it_can(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = {
        f"p{k}": frozenset(np.flatnonzero(rng.random(8) < [0.5, 0.3, 0.1, 0.05] * 2).tolist())
        for k in range(60)
    }
    train, val = split_ids(labels, share=0.15, seed=seed)
    total = Counter(c for shown in labels.values() for c in shown)
    for c, count in total.items():
        if count > 1:
            assert any(c in labels[i] for i in train), c
            assert any(c in labels[i] for i in val), c
    assert 9 <= len(val) <= 9 + 8


def test_two_photographs_of_two_classes_stay_apart() -> None:
    """Neither can move without taking the last of a class away."""
    labels = {"a": frozenset({0}), "b": frozenset({1})}
    train, val = split_ids(labels, share=0.5, seed=0)
    assert len(train) == len(val) == 1
    assert split_ids(labels, share=0, seed=0) == (["a", "b"], [])
    assert split_ids({"a": frozenset({0})}, share=0.9, seed=0) == (["a"], [])
    with pytest.raises(ValueError, match="share"):
        split_ids(labels, share=1, seed=0)


def test_ids_are_plain_and_differ() -> None:
    files = [
        "a/b c.JPG", "a/b_c.jpg", "a__b_c.png", "A/B C.jpg", "x.jpg.png", "#1;2, 'q'?.jpg",
        "ü.jpg", "u\u0308/1.jpg", "n/" * 120 + "1.jpg", "n/" * 120 + "2.jpg", "cat 1.jpg",
    ]  # fmt: skip
    ids = make_ids(files)
    assert len({name.casefold() for name in ids.values()}) == len(files)
    for file, name in ids.items():
        assert check_id(name, file) == name and len(name.encode()) <= MOST_BYTES
        assert not set(name) & set(" ,;#'\"") and not name.lower().endswith((".jpg", ".png"))
    assert ids["ü.jpg"] == "ü" and ids["x.jpg.png"] == "x_jpg" and ids["cat 1.jpg"] == "cat_1"
    assert make_ids(reversed(files)) == ids


def test_a_name_means_the_file_whose_path_it_ends() -> None:
    index = FileIndex(["a.jpg", "x/a.jpg", "x/y/b.JPG", "z/b.png", "x/c.v1.jpg", "q/C.jpg"])
    assert index.find("a.jpg") == ["a.jpg"] and index.find("x\\a.jpg") == ["x/a.jpg"]
    assert index.find("/home/me/x/y/b.jpg") == ["x/y/b.JPG"]
    assert index.find("y/b") == ["x/y/b.JPG"] and index.find("b.JPG") == ["x/y/b.JPG"]
    assert index.find("b") == ["x/y/b.JPG", "z/b.png"]
    assert index.find("w/b.png") == [] and index.find("..") == []
    assert index.find("c.v1") == ["x/c.v1.jpg"] and index.find("c.jpg") == ["q/C.jpg"]
    assert index.find("https://a.org/q/C.jpg?w=1") == ["q/C.jpg"]
    assert index.find("b.jpg", below=["z", "x/y"]) == ["z/b.png"]
