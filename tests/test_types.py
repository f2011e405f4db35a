"""``Any`` says nothing of a value, so each use of it in the package is listed here with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "export/network.py": (1, "torch types every part of a module as a tensor or a module, which fits neither use"),
}
"""For each module the uses that it may have, and why."""


def uses(source: str) -> int:
    """How often a module names ``Any`` or ``typing.Any``, its import not counted."""
    nodes = list(ast.walk(ast.parse(source)))
    quoted = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return (
        sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
        + sum(isinstance(node, ast.Attribute) and node.attr == "Any" for node in nodes)
        + sum("[Any" in text or "Any]" in text for text in quoted if "``" not in text)
    )


def test_what_counts_as_a_use() -> None:
    source = (
        'import typing\nfrom typing import Any\nx: Any = 1\ny: list[typing.Any] = []\nz = cast("dict[str, Any]", y)'
    )
    assert uses(source) == 3
    assert uses('"""Any word; see ``Any``."""\nx: "int" = 1') == 0


def test_any_is_used_only_where_no_type_describes_a_value() -> None:
    folders = [path.parent for path in ROOT.glob("*/__init__.py")] + [ROOT / "src" / "wav2edge"]
    modules = {path.resolve() for folder in folders for path in folder.rglob("*.py")}
    assert len(modules) > 200
    found = {str(path.relative_to(ROOT)): uses(path.read_text("utf-8")) for path in modules}
    assert {name: count for name, count in found.items() if count} == {name: n for name, (n, _) in ALLOWED.items()}


FAMILIES = ("runtime/heads/", "export/encoders/")
"""Folders in which a file is one of several of a kind, whose class has the same name in each."""


def test_a_class_has_a_name_of_its_own() -> None:
    """Two classes named InputDevice, three named Comparison: which one a message or a search meant was a guess."""
    where: dict[str, set[str]] = {}
    for folder in [path.parent for path in ROOT.glob("*/__init__.py")] + [ROOT / "src" / "wav2edge"]:
        for path in {path.resolve() for path in folder.rglob("*.py")}:
            name = str(path.relative_to(ROOT))
            if name.startswith(FAMILIES) or name == "src/wav2edge/runners.py":  # the faces of the runtime's classes
                continue
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    where.setdefault(node.name, set()).add(name)
    assert {name: files for name, files in where.items() if len(files) > 1} == {}
