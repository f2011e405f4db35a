"""Plain tables for terminals and pipes."""

from __future__ import annotations

from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Columns aligned by their widest cell; those whose cells are numbers to the right."""
    columns = list(zip(headings, *rows))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [bool(rows) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in (headings, *rows):
        cells = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right)]
        lines.append((indent + "  ".join(cells)).rstrip())
    lines.insert(1, indent + "  ".join("─" * width for width in widths))
    return "\n".join(lines)


def size(count: int) -> str:
    """Bytes as a reader wants them: ``377.6 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def _is_number(cell: str) -> bool:
    text = cell.split(" ")[0].rstrip("%×").replace("–", "0")
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
