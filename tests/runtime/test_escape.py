"""Text from outside cannot act on the place it is written to."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from wav2edge.runtime import escape

HOSTILE = st.text(
    st.characters() | st.sampled_from("\x1b\x07\r\n\t\0|`*_[]()<>&!#=+-@\\~$:/.\u202e\u2028\x9b"), max_size=60
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("two\nlines\r\n\tof text\n", "two lines of text"),
        ("\x1b[2J\x07wiped", "\\x1b[2J\\x07wiped"),
        ("6.00\u00a0× ± 0.01", "6.00\u00a0× ± 0.01"),
        ("a\u202egnp.exe", "a\\x202egnp.exe"),
        ("one\u2028two", "one two"),
        ("ünïcödé 日本語", "ünïcödé 日本語"),
    ],
)
def test_a_terminal_gets_one_line_without_control_characters(text: str, shown: str) -> None:
    assert escape.one_line(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("int8_s8s8 is 2.5× faster", "int8_s8s8 is 2.5× faster"),
        ("a | b", r"a \| b"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("[here](http://x.org)", r"\[here\](http\://x.org)"),
        ("**bold** _it_ `code` &lt;", r"\*\*bold\*\* \_it\_ \`code\` \&lt;"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. first", r"1\. first"),
        ("6.00× ± 0.00", "6.00× ± 0.00"),
        ("www.x.org", r"www\.x.org"),
        ("row\n| forged |", r"row \| forged \|"),
    ],
)
def test_markdown_shows_the_text_as_written(text: str, shown: str) -> None:
    assert escape.markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'=1"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("onnxruntime", "onnxruntime"),
    ],
)
def test_a_spreadsheet_calculates_nothing(text: str, cell: str) -> None:
    assert escape.csv_cell(text) == cell


@seed(7)
@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_any_text_stays_inside_its_place(text: str) -> None:
    assert escape.one_line(text).isprintable() or all(not _control(c) for c in escape.one_line(text))
    written = escape.html(text)
    assert not set("<>\"'") & set(written) and not any(_control(c) for c in written if c not in "\t\n")
    assert "\n" not in escape.markdown(text) and "|" not in escape.markdown(text).replace("\\|", "")
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(["first", escape.csv_cell(text)])
    ((_, cell),) = csv.reader(io.StringIO(line.getvalue(), newline=""))
    assert not any(_control(c) for c in cell)


def _control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


@pytest.mark.parametrize(
    ("text", "columns", "cut"),
    [("talk", 4, "tal"), ("会議.wav", 8, "会"), ("ｱab", 3, "ｱab"), ("é中", 3, "é中"), ("", 0, "")],
)
def test_columns_of_a_terminal(text: str, columns: int, cut: str) -> None:
    """A line of progress with a Chinese name was wider than the terminal, and stood there again with each redrawing."""
    assert escape.columns(text) == columns
    assert escape.cut(text, 3) == cut
    assert escape.cut(text, -1) == ""
