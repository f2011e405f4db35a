"""A benchmark as one HTML page: no script, no file beside it, light or dark as the reader's system says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from . import plots as bench_plots
from .report import Report, verdicts
from .table import NAMES, absent, footnotes, heading, table

_WIDE, _NARROW = 1040, 340
"""Widths that plots are drawn for, in pixels: for a desk, and for a phone of 390."""

_LIGHT = ("#2a78d6", "#1a8f63", "#d9541f", "#4a3aa7", "#d63a3a", "#c2488f", "#a37200", "#5b6770")
_DARK = ("#5b9ff0", "#35bd8a", "#f08a5d", "#a99ef2", "#f08080", "#e58cc0", "#dba93a", "#a9b4bd")


def page(report: Report) -> str:
    """The page of a report."""
    seconds = report.reference_length or 0
    plots = (
        (
            f"Latency of {seconds:g} s of audio",
            bench_plots.distribution,
            "Each dot is one run; the line is the median.",
        ),
        ("Speed by length", bench_plots.rtf_by_length, "Colour is the engine, dashes are the precision."),
        ("Latency against words", bench_plots.latency_against_wer, "Lower left is better."),
    )
    sentences = "".join(f"<li>{escape(line)}</li>" for line in verdicts(report))
    notes = "".join(f"<li>{escape(line)}</li>" for line in footnotes(report))
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wav2edge bench: {escape(heading(report)[0])}</title>
<style>{_style()}</style>
</head>
<body>
<main>
<header><h1>wav2edge bench</h1>{"".join(f"<p>{escape(line)}</p>" for line in heading(report))}</header>
<section><ul class="verdicts">{sentences}</ul></section>
{"".join(_figure(report, title, draw, note) for title, draw, note in plots)}
<section><h2>Table</h2><div class="scroll">{_table(report)}</div></section>
<section class="notes"><h2>Notes</h2><ul>{notes}</ul><p>{escape(versions)}</p></section>
</main>
</body>
</html>
"""


def _figure(report: Report, title: str, draw: Callable[[Report, int], str], note: str) -> str:
    wide, narrow = draw(report, _WIDE), draw(report, _NARROW)
    if not wide:
        return ""
    return (
        f'<section><h2>{escape(title)}</h2>{bench_plots.legend(report)}<div class="wide">{wide}</div>'
        f'<div class="narrow">{narrow}</div><p class="muted">{escape(note)}</p></section>'
    )


def _table(report: Report) -> str:
    """The names of a row are one cell, which stays in sight while a phone scrolls through the figures."""
    header, rows = table(report)
    names = sum(name in NAMES for name in header)

    def line(words: Sequence[str], rest: str) -> str:
        return (
            f'<tr><th scope="row">{" ".join(f"<span>{escape(word)}</span>" for word in words if word)}</th>{rest}</tr>'
        )

    head = f"<th>{escape(' '.join(header[:names]))}</th>" + "".join(
        f"<th>{escape(name)}</th>" for name in header[names:]
    )
    body = "".join(line(row[:names], "".join(f"<td>{escape(v)}</td>" for v in row[names:])) for row in rows)
    for words, why in absent(report):
        body += line(words, f'<td class="why" colspan="{len(header) - names}"><div>{escape(why)}</div></td>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _style() -> str:
    def palette(values: tuple[str, ...]) -> str:
        return "".join(f"--c{index}:{value};" for index, value in enumerate(values))

    classes = "".join(f".f-c{i}{{fill:var(--c{i})}}.s-c{i}{{stroke:var(--c{i})}}" for i in range(len(_LIGHT)))
    light = "--bg:#fcfcfb;--ink:#1a1c1e;--muted:#5c6268;--grid:#dfe2e5;--card:#fff;" + palette(_LIGHT)
    dark = "--bg:#15171a;--ink:#eceef0;--muted:#a4abb2;--grid:#343a40;--card:#1c1f23;" + palette(_DARK)
    colours = f":root{{color-scheme:light dark;{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    texts = "".join(f"svg text.f-c{i}{{fill:var(--c{i})}}" for i in range(len(_LIGHT)))
    return f"{colours}{_RULES}{classes}{texts}"


_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:26px;margin:0 0 4px} h2{font-size:18px;margin:0 0 8px}
header p{margin:0;color:var(--muted)}
section{background:var(--card);border:1px solid var(--grid);border-radius:10px;padding:16px;margin-top:16px}
.verdicts{margin:0;padding-left:20px} .muted{color:var(--muted);font-size:14px;margin:8px 0 0}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;margin:0 0 8px;padding:0;font-size:14px}
.legend li{display:flex;align-items:center;gap:6px}
svg{display:block;max-width:100%;height:auto;overflow:visible}
svg text{font:13px system-ui,sans-serif;fill:var(--ink)}
svg text.muted{fill:var(--muted)} svg text[class^=f-]{font-weight:600} svg text.strong{font-weight:600}
.grid{stroke:var(--grid)} .ink{stroke:var(--ink);stroke-width:2} .lead{stroke:var(--muted)}
.line{fill:none;stroke-width:2} .soft{opacity:.25} .dot{opacity:.7} line[class^=s-]{stroke-width:2.5}
.scroll{overflow-x:auto} table{border-collapse:separate;border-spacing:0;font-size:14px}
th,td{padding:6px;border-bottom:1px solid var(--grid);text-align:right;font-variant-numeric:tabular-nums}
td{white-space:nowrap} thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card);padding-left:0}
tbody th{font-weight:400;white-space:nowrap} tbody th span:last-child{font-weight:600}
td.why{color:var(--muted);white-space:normal;text-align:left} .why div{max-width:min(760px,calc(100vw - 190px))}
.notes{font-size:14px;color:var(--muted);overflow-wrap:anywhere} .notes ul{margin:0;padding-left:20px}
.narrow{display:none}
@media (max-width:1000px){.wide{display:none}.narrow{display:block}section{padding:12px}
tbody th span{display:block}}
"""
