"""The classes of a label table when nobody has listed them: the names that stand in its cells.

How a cell's names are separated is read off the whole file:

- where a cell has `;`, `,` or `|`, these separate names, and spaces belong to names;
- where no cell has them, spaces separate if the words recur as lists of names do: each cell of
  several words has one that also stands alone in a cell, and of the words that never stand alone
  at least half are in two different cells. So `cat`, `dog`, `chair dog`, `chair cat` are cat, dog
  and chair, while `dog`, `hot dog` are two names, and so are `red car`, `green car`.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from smaf.core.label_tables import TRUTH, image_column, is_image, label_columns, marked_columns
from smaf.core.names import is_background, name_key, split_names
from smaf.core.tables import Row, read_table

log = logging.getLogger("smaf")

# Words for "shows none of the classes", as name_key has them, beside those of the background
_NONE = {"none", "negative", "negatives", "nothing", "noobject", "noobjects", "noclass"}


def means_none(name: str) -> bool:
    """Whether a name says that a photograph shows none of the classes.

    Example:
        >>> [name for name in ("None", "background", "negative", "nun") if means_none(name)]
        ['None', 'background', 'negative']
    """
    return is_background(name) or name_key(name) in _NONE


def table_names(path: Path, fix: str) -> tuple[str, ...]:
    """Every name in the cells of a label table, also those of columns of 0 and 1, spelled once.

    The order is :func:`in_order`'s. A table that cannot be understood gives no names:
    :func:`smaf.core.label_tables.read_label_rows` says why.
    """
    table = read_table(path, "image-label file", fix)
    if not table:
        return ()
    headings = table[0].cells
    if is_image(headings[0]):
        rows, columns, width = table, [1], 2
    else:
        keys = [name_key(cell.lstrip("#")) for cell in headings]
        image = image_column(keys, table[1:])
        rows, columns, width = table[1:], label_columns(keys, headings, path), len(keys)
        if image is None:
            return ()
        if not columns:
            marked = marked_columns(headings, image, ())
            return in_order(headings[c] for c in marked if _is_marked(rows, c))
    cells = Counter(text for row in rows if (text := _text(row, columns, width)))
    return in_order(_names(cells))


def _is_marked(rows: Sequence[Row], column: int) -> bool:
    return all(len(row.cells) > column and row.cells[column].lower() in TRUTH for row in rows)


def _text(row: Row, columns: Sequence[int], width: int) -> str:
    """A row's labels as one text; cells beyond the first line's belong to them, too."""
    cells = [row.cells[c] for c in columns if c < len(row.cells)] + row.cells[width:]
    return ",".join(cell for cell in cells if cell)


def _names(cells: Counter[str]) -> list[str]:
    """The names in cells, each as often as it is there."""
    names = Counter[str]()
    for text, times in cells.items():
        names.update(dict.fromkeys(split_names(text, ()), times))
    several = [name for name in names if " " in name]
    separated = any(re.search(r"[;,|]", text) for text in cells)
    if several and not separated and _are_lists(several, names):
        log.info("labels are separated by spaces, as in %r", several[0])
        for name in several:
            for word in name.split():
                names[word] += names[name]
            del names[name]
    return list(names.elements())


def _are_lists(several: Sequence[str], names: Iterable[str]) -> bool:
    alone = {name_key(name) for name in names if " " not in name}
    lists = [{name_key(word) for word in name.split()} for name in several]
    words = Counter(word for found in lists for word in found)
    others = [times for word, times in words.items() if word not in alone]
    return all(map(alone.intersection, lists)) and (
        2 * sum(times > 1 for times in others) >= len(others)
    )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each class once, by the alphabet, without the words for none of them.

    Of names that differ only in case, spaces or underscores the commonest spelling is taken.

    Example:
        >>> in_order(["dog", "Cat", "cat", "cat", "none"])
        ('cat', 'dog')
    """
    spellings: dict[str, Counter[str]] = {}
    for name in names:
        if name and not means_none(name):
            spellings.setdefault(name_key(name), Counter())[name] += 1
    best = [min(found, key=lambda name: (-found[name], name)) for found in spellings.values()]
    return tuple(sorted(best, key=lambda name: (name.casefold(), name)))
