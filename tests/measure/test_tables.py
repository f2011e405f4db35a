"""Plain tables: alignment, sentences across columns, escapes."""

from __future__ import annotations

from wav2edge.measure import tables


def test_tables_align_numbers_right_and_words_left() -> None:
    lines = tables.table(("name", "ms"), [("a", "1.5"), ("long", "12.25")]).splitlines()
    assert lines == ["  name     ms", "  ────  ─────", "  a       1.5", "  long  12.25"]
    assert [tables.size(n) for n in (12, 1500, 377_600_000, 2_500_000_000)] == [
        "12 B",
        "1.5 kB",
        "377.6 MB",
        "2.50 GB",
    ]


def test_sentences_follow_their_names_and_controls_are_escaped() -> None:
    rows = [("a\x1b[2J", "1.0")]
    lines = tables.table(("name", "ms"), rows, indent="", sentences=[(("longer than all",), "is missing")]).splitlines()
    assert lines[-1] == "longer than all  is missing"
    assert lines[2].startswith("a\\x1b[2J ") and lines[2].endswith("1.0")


def test_columns_of_wide_characters_are_aligned() -> None:
    """A Chinese character takes two columns of a terminal, and the cells after it stood to the right of the others."""
    lines = tables.table(
        ["corpus", "WER"], [["中文", "5"], ["en", "12"]], sentences=[(["日本語語"], "not here")]
    ).split("\n")
    assert lines == ["  corpus    WER", "  ────────  ───", "  中文        5", "  en         12", "  日本語語  not here"]
