"""The building blocks of every HTML report: one style, one escape, light or dark as the reader's system is set.

A page is one file, without scripts, fonts or other files. Text is escaped wherever it enters: all functions here take
plain strings and return ``Html``, and only ``Html`` is written as it is.

    page.document("Title", [page.section(page.table(columns, rows), "Figures")], ["a line under the title"])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..runtime import escape

if TYPE_CHECKING:
    from .scoring import AlignedWords

WIDE, NARROW = 1040, 340
"""Widths in pixels that plots are drawn for: a desk's window of 1 280 and a phone of 360 to 390, less the margins."""

COLOURS = 8
"""How many colours the palette has: classes ``f-c0`` (fill) and ``s-c0`` (stroke) to ``f-c7`` and ``s-c7``."""

_LIGHT = ("#2a78d6", "#1a8f63", "#d9541f", "#4a3aa7", "#d63a3a", "#c2488f", "#a37200", "#5b6770")
_DARK = ("#5b9ff0", "#35bd8a", "#f08a5d", "#a99ef2", "#f08080", "#e58cc0", "#dba93a", "#a9b4bd")
_VOID = frozenset({"br", "meta"})


class Html(str):
    """Markup, already escaped where it holds text."""

    __slots__ = ()


def text(value: str) -> Html:
    """Plain text as markup; ``Html`` stays as it is."""
    return value if isinstance(value, Html) else Html(escape.html(value))


def join(parts: Iterable[str], between: str = "") -> Html:
    """Several pieces, each escaped unless it is ``Html``, one after the other."""
    return Html(text(between).join(map(text, parts)))


def element(name: str, *children: str, **attributes: str | float | None) -> Html:
    """``<name …>children</name>``; underscores in attributes become hyphens (``class_`` is class), None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value if isinstance(value, str) else f"{value:g}")}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{join(children)}</{name}>")


def section(body: str, title: str | None = None, kind: str | None = None) -> Html:
    """A card with a heading."""
    return element("section", *([element("h2", title)] if title else []), body, class_=kind)


def paragraph(*parts: str, kind: str | None = None) -> Html:
    """A paragraph; kinds: ``muted``, ``good``, ``bad``."""
    return element("p", *parts, class_=kind)


def bullets(lines: Iterable[str], kind: str | None = None) -> Html:
    """A list of sentences."""
    return element("ul", *(element("li", line) for line in lines), class_=kind)


def plots(wide: str, narrow: str) -> Html:
    """A plot drawn for a desk and for a phone, of which the reader's screen shows one."""
    return join([element("div", wide, class_="wide"), element("div", narrow, class_="narrow")])


@dataclass(frozen=True)
class Column:
    """A column of a table. numeric: figures, to the right and never broken over lines; otherwise text."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    heading: its name; the parts are beside each other on a wide screen and below each other on a narrow one.
    cells: one for each column after the heading, or a single sentence that takes all of them.
    """

    heading: Sequence[str]
    cells: Sequence[str]


def table(heading: str, columns: Sequence[Column], rows: Iterable[TableRow]) -> Html:
    """A table whose first column stays in sight while a small screen scrolls through the others, inside the card.

    heading: the title of the first column.
    """
    head = element("tr", element("th", heading), *(_title(column) for column in columns))
    body = (element("tr", _row_heading(row), *_cells(row, columns)) for row in rows)
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=f"table by {heading}")


def _title(column: Column) -> Html:
    return element("th", column.title, class_=None if column.numeric else "text", scope="col")


def _row_heading(row: TableRow) -> Html:
    words = join((element("span", word) for word in row.heading if word), " ")
    return element("th", words, scope="row")


def _cells(row: TableRow, columns: Sequence[Column]) -> list[Html]:
    if len(row.cells) == 1 and len(columns) > 1:
        return [element("td", element("div", row.cells[0]), class_="why", colspan=len(columns))]
    return [element("td", cell, class_=None if column.numeric else "text") for cell, column in zip(row.cells, columns)]


def word_differences(pieces: Iterable[AlignedWords]) -> Html:
    """An alignment of two texts: words of the first only are struck out, words of the second only emphasised."""
    shown: list[Html] = []
    for piece in pieces:
        if piece.kind == "equal":
            shown.append(text(" ".join(piece.hypothesis)))
            continue
        if piece.reference:
            shown.append(element("del", " ".join(piece.reference)))
        if piece.hypothesis:
            shown.append(element("ins", " ".join(piece.hypothesis)))
    return join(shown, " ") if shown else element("em", "nothing")


def svg(width: float, height: float, parts: Iterable[str], title: str) -> Html:
    """A drawing of that size in pixels; it shrinks with its card. ``title`` is for screen readers."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", *parts, viewBox=box, width=width, height=height, role="img", aria_label=title)


def svg_text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> Html:
    """Words in a drawing. anchor: start, middle or end at ``x``."""
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=kind)


def document(title: str, sections: Iterable[str], lines: Sequence[str] = (), *, heading: str | None = None) -> str:
    """The whole file. lines: under the heading, which is the title where none is given."""
    header = element("header", element("h1", heading or title), *(paragraph(line) for line in lines))
    main = element("main", header, *sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{style()}</style>\n</head>\n<body>\n{main}\n</body>\n</html>\n"
    )


def style() -> str:
    """The style sheet of every page."""

    def palette(values: Sequence[str]) -> str:
        return "".join(f"--c{index}:{value};" for index, value in enumerate(values))

    classes = "".join(f".f-c{i}{{fill:var(--c{i})}}.s-c{i}{{stroke:var(--c{i})}}" for i in range(COLOURS))
    light = "--bg:#fcfcfb;--ink:#1a1c1e;--muted:#5c6268;--grid:#dfe2e5;--card:#fff;--good:#1d6b35;--bad:#b3261e;"
    dark = "--bg:#15171a;--ink:#eceef0;--muted:#a4abb2;--grid:#343a40;--card:#1c1f23;--good:#86d9a0;--bad:#ff9d94;"
    colours = (
        f":root{{color-scheme:light dark;{light}{palette(_LIGHT)}}}"
        f"@media (prefers-color-scheme: dark){{:root{{{dark}{palette(_DARK)}}}}}"
    )
    texts = "".join(f"svg text.f-c{i}{{fill:var(--c{i})}}" for i in range(COLOURS))
    return f"{colours}{_RULES}{classes}{texts}"


_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:1240px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px} h2{font-size:18px;margin:0 0 8px}
h3{font-size:15px;margin:16px 0 4px}
header p{margin:0;color:var(--muted)}
section{background:var(--card);border:1px solid var(--grid);border-radius:10px;padding:16px;margin-top:16px}
ul{margin:0;padding-left:20px} .muted{color:var(--muted);font-size:14px;margin:8px 0 0}
.good{color:var(--good)} .bad{color:var(--bad)} small{color:var(--muted)}
del{color:var(--bad)} ins{color:var(--good);text-decoration:none;font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;margin:0 0 8px;padding:0;font-size:14px}
.legend li{display:flex;align-items:center;gap:6px}
svg{display:block;max-width:100%;height:auto;overflow:visible}
svg text{font:13px system-ui,sans-serif;fill:var(--ink)}
svg text.muted{fill:var(--muted)} svg text[class^=f-]{font-weight:600} svg text.strong{font-weight:600}
.grid{stroke:var(--grid)} .ink{stroke:var(--ink);stroke-width:2} .lead{stroke:var(--muted)}
.line{fill:none;stroke-width:2} .soft{opacity:.25} .dot{opacity:.7} line[class^=s-]{stroke-width:2.5}
.f-good{fill:var(--good)} .f-bad{fill:var(--bad)} .f-muted{fill:var(--muted)}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:separate;border-spacing:0;font-size:14px}
th,td{padding:6px;border-bottom:1px solid var(--grid);text-align:right;font-variant-numeric:tabular-nums;
vertical-align:top;overflow-wrap:normal}
td{white-space:nowrap} thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card);padding-left:0}
tbody th{font-weight:400} tbody th span:last-child{font-weight:600}
tbody th span{display:inline-block;width:max-content;max-width:min(420px,40vw);overflow-wrap:anywhere}
th.text,td.text{text-align:left} td.text{white-space:normal;min-width:9rem;max-width:32rem;overflow-wrap:anywhere}
td.why{color:var(--muted);white-space:normal;text-align:left} .why div{max-width:min(760px,calc(100vw - 190px))}
td svg{min-width:7rem;height:1.5rem;width:100%}
dl{margin:0;display:grid;grid-template-columns:minmax(6rem,12rem) 1fr;gap:4px 16px}
dt{color:var(--muted);font-size:14px} dd{margin:0}
.notes{font-size:14px;color:var(--muted)}
.narrow{display:none}
@media (max-width:1000px){.wide{display:none}.narrow{display:block}section{padding:12px}
tbody th span{display:block}}
@media (max-width:700px){dl{grid-template-columns:1fr;gap:0} dd{margin-bottom:8px}}
@media print{section{break-inside:avoid}}
"""
