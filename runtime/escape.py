"""Text from outside (transcripts, file names, other libraries' errors) made safe for the place it is written to.

A recording's name or a manifest's text may hold escape sequences, markup or formulas. Every place that shows such text
passes it through the one function here that is made for that place.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape as _html_escape

_BREAKS = re.compile(r"[ ]*[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029][\s]*")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MARKDOWN = re.compile(r"([\\`*\[\]<>|&~$]|(?<!\w)_|_(?!\w))")
_MARKDOWN_START = re.compile(r"^(#|[-+=](?=\s|$|[-+=])|\d+(?=[.)](\s|$)))")
_MARKDOWN_LINK = re.compile(r"(?i)(:)(?=//)|(?<=\bwww)(\.)")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def _is_control(character: str) -> bool:
    """Control characters, surrogates, and the formats that turn the direction of text around (Unicode TR 9)."""
    if unicodedata.category(character) in ("Cc", "Cs"):
        return True
    return "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069" or character in "\u2028\u2029"


def one_line(text: str) -> str:
    """Text for a terminal or a log: tabs and line breaks as a space, other control characters by their number."""
    spaced = _BREAKS.sub(" ", text).strip()
    return "".join(f"\\x{ord(c):02x}" if _is_control(c) else c for c in spaced)


def lines(text: str) -> str:
    """Text of several lines for a terminal: tabs and line feeds stay, other control characters by their number."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def html(text: str) -> str:
    """Text between tags or in a quoted attribute; control characters, which HTML forbids, become U+FFFD."""
    return _html_escape("".join("\ufffd" if _is_control(c) and c not in "\t\n" else c for c in text))


def markdown(text: str) -> str:
    """Text inside a Markdown paragraph, list item or table cell: shown as written, on one line."""
    line = _MARKDOWN.sub(r"\\\1", one_line(text))
    line = _MARKDOWN_LINK.sub(lambda match: f"\\{match.group()}", line)
    return _MARKDOWN_START.sub(lambda m: m.group() + "\\" if m.group().isdigit() else "\\" + m.group(), line)


def csv_cell(text: str) -> str:
    """A text cell of a CSV or TSV: on one line, and never a formula (https://owasp.org/www-community/attacks/CSV_Injection).

    What a spreadsheet would calculate gets an apostrophe in front; numbers stay numbers. Quoting is the csv module's.
    """
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) and not _is_number(line) else line


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None
