"""Plain tables for terminals, pipes and logs."""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime import escape


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    indent: str = "  ",
    sentences: Sequence[tuple[Sequence[str], str]] = (),
) -> str:
    """Columns aligned by their widest cell; those whose cells are numbers to the right.

    sentences: rows at the end whose first cells are followed by text across the other columns. Control characters in
    cells are written as escapes.
    """
    header, *body = [[escape.one_line(cell) for cell in row] for row in (headings, *rows)]
    ends = [([escape.one_line(cell) for cell in cells], escape.one_line(text)) for cells, text in sentences]
    columns = list(zip(header, *body))
    widths = [max(map(escape.columns, column)) for column in columns]
    for cells, _ in ends:
        widths[: len(cells)] = [max(width, escape.columns(cell)) for width, cell in zip(widths, cells)]
    right = [bool(rows) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in (header, ["─" * width for width in widths], *body):
        lines.append("  ".join(_filled(cell, width, to_right) for cell, width, to_right in zip(row, widths, right)))
    lines += ["  ".join((*(_filled(cell, width) for cell, width in zip(cells, widths)), text)) for cells, text in ends]
    return "\n".join((indent + line).rstrip() for line in lines)


def _filled(cell: str, width: int, to_right: bool = False) -> str:
    """A cell with spaces up to a number of columns, after it or before it."""
    spaces = " " * (width - escape.columns(cell))
    return spaces + cell if to_right else cell + spaces


def size(count: int) -> str:
    """Bytes in words for a reader: ``377.6 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def _is_number(cell: str) -> bool:
    """Whether a cell is a number with its unit, such as ``6.29× ± 0.08``, or a dash for one that is missing."""
    text = cell.split(" ")[0].rstrip("%×").replace("–", "0")
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
