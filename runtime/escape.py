"""Text from outside (transcripts, file names, other libraries' errors) made safe for where it is written.

A recording's name or a manifest's text may hold escape sequences, markup or formulas. All code that shows such text
passes it through the function here for that kind of output.
"""

from __future__ import annotations

import re

# Patterns are text, compiled when they are first needed: every command imports this module.
_BREAKS = r"[ ]*[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029][\s]*"
_CONTROL = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters but for tab and line feed, the formats that turn the direction of text around (Unicode Standard
Annex 9), line and paragraph separators, and surrogates."""
_MARKDOWN = r"([\\`*\[\]<>|&~$]|(?<!\w)_|_(?!\w))"
_MARKDOWN_START = r"^(#|[-+=](?=\s|$|[-+=])|\d+(?=[.)](\s|$)))"
_MARKDOWN_LINK = r"(?i)(:)(?=//)|(?<=\bwww)(\.)"
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def one_line(text: str) -> str:
    """Text for a terminal or a log: tabs and line breaks as a space, other control characters by their number."""
    return lines(re.sub(_BREAKS, " ", text).strip())


def lines(text: str) -> str:
    """Text of several lines for a terminal: tabs and line feeds stay, other control characters by their number."""
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_CONTROL, lambda found: f"\\x{ord(found[0]):02x}", text)


def rttm_field(text: str) -> str:
    """Text as one field of RTTM, whose fields are separated by spaces; ``_`` for none."""
    return re.sub(r"\s+", "_", one_line(text)) or "_"


def is_utf8(text: str) -> bool:
    """Whether text has a form in UTF-8: half of a surrogate pair has none, nor has a file's name of other bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def columns(text: str) -> int:
    """Columns that text takes on a terminal or in a subtitle: wide and full-width characters (UAX 11) take two."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return len(text) + sum(east_asian_width(character) in "WF" for character in text)


def cut(text: str, most: int) -> str:
    """The beginning of a line that takes at most so many columns."""
    text = text[: max(0, most)]
    while columns(text) > max(0, most):
        text = text[:-1]
    return text


def html(text: str) -> str:
    """Text between tags or in a quoted attribute; control characters, which HTML forbids, become U+FFFD."""
    from html import escape  # with a table of 2 000 names, which few commands need

    return escape(re.sub(_CONTROL, "\ufffd", text))


def markdown(text: str) -> str:
    """Text inside a Markdown paragraph, list item or table cell: shown as written, on one line."""
    line = re.sub(_MARKDOWN, r"\\\1", one_line(text))
    line = re.sub(_MARKDOWN_LINK, lambda match: f"\\{match.group()}", line)
    return re.sub(_MARKDOWN_START, lambda m: m[0] + "\\" if m[0].isdigit() else "\\" + m[0], line)


def csv_cell(text: str) -> str:
    """A text cell of a CSV or TSV: on one line, and never a formula (https://owasp.org/www-community/attacks/CSV_Injection).

    What a spreadsheet would calculate gets an apostrophe in front; numbers stay numbers. Quoting is the csv module's.
    """
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) and not _is_number(line) else line


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None
