"""The page that ``wav2edge evaluate --html`` writes: one file, nothing fetched, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wav2edge.measure.evaluation import Evaluation
    from wav2edge.measure.scoring import Rate

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1c20; --soft: #5c6470; --paper: #fdfdfc; --line: #d9dce1; --bar: #2f6fb4;
  --wrong: #b3261e; --extra: #1f6d3a; --card: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e9ec; --soft: #a2a9b4; --paper: #15171b; --line: #363b44;
  --bar: #7db4f0; --wrong: #ff9d94; --extra: #86d9a0; --card: #1f232a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p, dd { color: var(--soft); } b, td { color: var(--ink); }

table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .85rem; }
th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td small { color: var(--soft); white-space: nowrap; }
svg { display: block; width: 100%; min-width: 7rem; height: 1.5rem; }
svg rect { fill: var(--bar); opacity: .35; } svg line { stroke: var(--bar); stroke-width: 2; }
svg circle { fill: var(--bar); }
article { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; margin: .8rem 0; }
article h3 { margin: 0 0 .5rem; font-size: .9rem; font-weight: 600; }
dl { margin: 0; display: grid; grid-template-columns: minmax(6rem, 12rem) 1fr; gap: .25rem 1rem; }
dt { color: var(--soft); font-size: .85rem; padding-top: .1rem; } dd { margin: 0; color: var(--ink); }
del { color: var(--wrong); } ins { color: var(--extra); text-decoration: none; font-weight: 600; }
@media (max-width: 44rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  thead { display: none; } tr { display: block; border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td { display: grid; grid-template-columns: 9rem 1fr; border: 0; padding: .1rem 0; } td:empty { display: none; }
  td::before { content: attr(data-label); color: var(--soft); font-size: .85rem; }
  td br { display: none; } td small { padding-left: .3rem; } }
"""


def page(found: Evaluation, labels: Sequence[str], manifest: str, worst: int) -> str:
    """The whole page as HTML."""
    parts = [_head(found, manifest)]
    for corpus in dict.fromkeys(line.corpus for line in found.lines):
        parts.append(_corpus(found, labels, corpus))
    clips = found.worst(worst)
    if clips:
        parts.append(f"<h2>Most errors of {escape(labels[0])}</h2>")
        parts.append("<p><del>Left out or misheard</del>, <ins>heard instead</ins>.</p>")
        parts += [_clip(found, labels, index) for index in clips]
    if found.problems:
        parts.append("<h2>Could not be used</h2><ul>")
        parts += [f"<li>{escape(problem)}</li>" for problem in found.problems]
        parts.append("</ul>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Word error rates on {escape(manifest)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _head(found: Evaluation, manifest: str) -> str:
    seconds = max(one.seconds for one in found.heard)
    how = {"none": "as they stand", "lower": "in lower case", "basic": "in lower case and without punctuation"}
    return (
        f"<h1>Word error rates on {escape(manifest)}</h1>\n"
        f"<p>{len(found.rows)} recordings, {seconds / 60:.1f} minutes. Texts are compared "
        f"{how[found.normalization]}. Bars and brackets are 95 % intervals (bootstrap over recordings); differences "
        "are paired.</p>"
    )


def _corpus(found: Evaluation, labels: Sequence[str], corpus: str) -> str:
    lines = [line for line in found.lines if line.corpus == corpus]
    against = {other.system: other for other in found.comparisons if other.corpus == corpus}
    finite = [x for line in lines for x in (line.scores.wer.high, line.scores.wer.value) if x == x]
    scale = max([*finite, 0.01]) * 1.05
    columns = ("System", "WER", f"0 to {100 * scale:.0f} %", "CER", "WER to the first", "Real time")
    rows = []
    for line in lines:
        other = against.get(line.system)
        change = ""
        if other is not None:
            change = (
                f"{escape(str(other.wer))}<br><small>{'beyond' if other.wer.significant else 'may be'} chance</small>"
            )
        cells = (
            escape(labels[line.system]),
            _rate(line.scores.wer),
            _bar(line.scores.wer, scale),
            _rate(line.scores.cer),
            change,
            f"{found.heard[line.system].speed:.1f}×",
        )
        tds = (
            f'<td data-label="{name}"><span>{cell}</span></td>' if cell else "<td></td>"
            for name, cell in zip(columns, cells)
        )
        rows.append(f"<tr>{''.join(tds)}</tr>")
    first = lines[0].scores.wer
    return (
        f"<h2>{escape(corpus)}</h2>\n<p>{first.clips} recordings, {first.length} words.</p>\n"
        f"<table><thead><tr>{''.join(f'<th>{name}</th>' for name in columns)}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table>"
    )


def _rate(rate: Rate) -> str:
    if rate.value != rate.value:  # no reference words
        return "none"
    if rate.low != rate.low:  # a single recording
        return f"{100 * rate.value:.1f} %"
    return f"{100 * rate.value:.1f} %<br><small>{100 * rate.low:.1f} to {100 * rate.high:.1f}</small>"


def _bar(rate: Rate, scale: float) -> str:
    if rate.low != rate.low:  # no interval
        return ""
    low, middle, high = (100 * value / scale for value in (rate.low, rate.value, rate.high))
    return (
        f'<svg viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{100 * rate.value:.1f} percent">'
        f'<rect x="{low:.2f}" y="5" width="{max(high - low, 0.4):.2f}" height="10"></rect>'
        f'<line x1="{middle:.2f}" x2="{middle:.2f}" y1="2" y2="18" vector-effect="non-scaling-stroke"></line></svg>'
    )


def _clip(found: Evaluation, labels: Sequence[str], index: int) -> str:
    row = found.rows[index]
    items = [f"<dt>reference</dt><dd>{escape(row.text)}</dd>"]
    for label, texts in zip(labels, found.texts):
        items.append(f"<dt>{escape(label)}</dt><dd>{_marked(row.text, texts[index], found.normalization)}</dd>")
    return f"<article><h3>{escape(row.path.name)} ({escape(row.corpus)})</h3><dl>{''.join(items)}</dl></article>"


def _marked(reference: str, hypothesis: str, normalization: str) -> str:
    from wav2edge.measure.scoring import normalize, word_alignment

    pieces = []
    for piece in word_alignment(normalize(reference, normalization), normalize(hypothesis, normalization)):
        if piece.kind == "equal":
            pieces.append(escape(" ".join(piece.hypothesis)))
            continue
        if piece.reference:
            pieces.append(f"<del>{escape(' '.join(piece.reference))}</del>")
        if piece.hypothesis:
            pieces.append(f"<ins>{escape(' '.join(piece.hypothesis))}</ins>")
    return " ".join(pieces) or "<em>nothing</em>"
