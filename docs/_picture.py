"""Draws the architecture from the real tree: folders, their modules and their imports, as an SVG for the page."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = (("cli",), ("serving",), ("export", "calibration"), ("graphs", "measure"), ("", "devices"), ("runtime",))
"""Folders from the top of the picture down; one that is not in the tree is left out, ``""`` is an empty place."""
PURPOSE = {
    "cli": "a file is a command",
    "serving": "a model for web pages and programs",
    "export": "checkpoint in, fp32 bundle out",
    "calibration": "bundle in, INT8 and FP16 out",
    "graphs": "ONNX graphs as data",
    "measure": "WER, latency, energy",
    "devices": "which machine, which choice",
    "runtime": "bundle and audio in, text out",
}
WIDTH, HEIGHT, GAP, MARGIN = 560, 58, 34, 8


def folder(name: str) -> Path:
    """Where a part of the package is in the tree."""
    return ROOT / "src" / "wav2edge" / "cli" if name == "cli" else ROOT / name


def parts() -> tuple[tuple[str, ...], ...]:
    """The rows of the picture, of what the tree has."""
    rows = (tuple(name for name in row if not name or (folder(name) / "__init__.py").exists()) for row in ROWS)
    return tuple(row for row in rows if row)


def imports() -> set[tuple[str, str]]:
    """Which part imports which, read from the source of every module."""
    names = {name for row in parts() for name in row if name}
    return {
        (name, target)
        for name in names
        for path in folder(name).rglob("*.py")
        for target in _imported(path, name)
        if target in names and target != name
    }


def arrows() -> set[tuple[str, str]]:
    """The imports that do not follow from others: a → c is left out where a → b and b → … → c are there."""
    found = imports()

    def reaches(start: str, goal: str) -> bool:
        return any(b == goal or reaches(b, goal) for a, b in found if a == start)

    return {(a, c) for a, c in found if not any(first == a and b != c and reaches(b, c) for first, b in found)}


def svg() -> str:
    """The picture, as one line of SVG that a page can hold."""
    boxes = dict(_boxes())
    height = max(y + h for _, y, _, h in boxes.values()) + MARGIN
    drawn = [
        f'<svg class="architecture" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Folders and their imports">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
    ]
    drawn += [_arrow(boxes[a], boxes[b]) for a, b in sorted(arrows())]
    drawn += [text for name, box in boxes.items() for text in _box(name, box)]
    return "".join([*drawn, "</svg>"])


Box = tuple[int, int, int, int]


def _boxes() -> Iterator[tuple[str, Box]]:
    y = MARGIN
    for row in parts():
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) // len(row)
        height = HEIGHT + (22 if row == ("runtime",) else 0)
        for column, name in enumerate(row):
            if name:
                yield name, (MARGIN + column * (width + GAP), y, width, height)
        y += height + GAP


def _box(name: str, box: Box) -> Iterator[str]:
    x, y, width, height = box
    title = "src/wav2edge/cli/" if name == "cli" else f"{name}/"
    modules = sum(1 for _ in folder(name).rglob("*.py"))
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
    yield f'<text class="name" x="{x + 12}" y="{y + 24}">{title}</text>'
    yield f'<text class="note" x="{x + width - 12}" y="{y + 24}" text-anchor="end">{modules} modules</text>'
    yield f'<text x="{x + 12}" y="{y + 46}">{escape(PURPOSE[name])}</text>'
    if name == "runtime":
        rooms = sorted(path.parent.name for path in folder(name).glob("[a-z]*/__init__.py"))
        yield f'<text class="note" x="{x + 12}" y="{y + 68}">{" · ".join(rooms)}</text>'


def _arrow(start: Box, end: Box) -> str:
    x, y = start[0] + start[2] // 2, start[1] + start[3]
    to = end[0] + end[2] // 2
    if start[2] > end[2]:
        x = to
    elif end[2] > start[2]:
        to = x
    return f'<path d="M{x} {y} L{to} {end[1]}" marker-end="url(#tip)"/>'


def _imported(path: Path, part: str) -> Iterator[str]:
    depth = len(path.relative_to(folder(part)).parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("wav2edge."))
        elif isinstance(node, ast.ImportFrom):
            words = (node.module or "").split(".")
            if node.level == 0 and words[0] == "wav2edge":
                yield from words[1:2] or (alias.name for alias in node.names)
            elif node.level == depth + 1:
                yield from words[:1] if node.module else (alias.name for alias in node.names)
