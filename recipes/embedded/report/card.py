"""Write the model card: tables from measured files, prose about the shipped weights from card_notes.json.

    python -m recipes.embedded.report.card --manifest MANIFEST

The card of other weights (`--log`) has the tables alone and is written into their folder.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..speech.manifest import read_manifest, split_of
from .curves import BOOK, COMMANDS, OPEN, WAKE, read_log

HERE = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent
LOGS = HERE / "logs"
SHIPPED = HERE / "checkpoint"
TITLES = {
    "librispeech-test-other": "LibriSpeech test-other, unseen speakers and open vocabulary",
    COMMANDS: "Coffee commands",
}
_MORE = {"ljspeech-more", "accents"}
"""Stores that have more of corpora which the manifest lists."""
_OF_SHIPPED = re.compile(r"\{\{shipped: begin\}\}(.*?)\{\{shipped: end\}\}", re.DOTALL)
"""The parts of the template that are about the shipped weights only, between marks."""


def rate_table(
    results: dict[str, dict[str, dict[str, object]]], splits: tuple[str, ...] = ("eval", "test", "dev")
) -> str:
    """Return a table of WER, CER and exact transcripts with intervals for each corpus of each split."""
    lines = ["| split | corpus | clips | WER % (95 %) | CER % (95 %) | exact % (95 %) |", "|---|---|---|---|---|---|"]
    for split in splits:
        for corpus, row in results[split].items():
            cells = [_rate(row, figure) for figure in ("wer", "cer", "exact")]
            lines.append(f"| {split} | {corpus} | {row['clips']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rate(row: dict[str, object], figure: str) -> str:
    """A figure with its interval, which a corpus of one clip does not have."""
    interval = row.get(figure + "_interval")
    return f"{row[figure]} ({interval[0]}–{interval[1]})" if isinstance(interval, list) else f"{row[figure]}"


def data_table(manifest: Path, stores: dict[str, dict[str, dict[str, float]]], licences: dict[str, str]) -> str:
    """Return a table of corpora with minutes by split and licence; those that no manifest lists come last."""
    minutes: dict[tuple[str, str], Counter[str]] = {}
    for row in read_manifest(manifest):
        minutes.setdefault((row.corpus, row.licence), Counter())[split_of(row)] += row.seconds / 60  # type: ignore[assignment]
    lines = ["| corpus | train min | dev min | test min | eval min | licence |", "|---|---|---|---|---|---|"]
    for (corpus, licence), splits in minutes.items():
        cells = [f"{splits[split]:.1f}" for split in ("train", "dev", "test", "eval")]
        lines.append(f"| {corpus} | " + " | ".join(cells) + f" | {licence} |")
    known = {corpus for corpus, _ in minutes}
    others: Counter[str] = Counter()
    for store, sizes in stores.items():
        for corpus, size in sizes.items():
            if corpus not in known or store in _MORE:
                others[corpus] += size["minutes"]  # type: ignore[assignment]
    for corpus, total in others.items():
        title = f"{corpus} (more of it)" if corpus in known else corpus
        licence = licences.get(corpus) or next((text for name, text in minutes if name == corpus), "")
        lines.append(f"| {title} | {total:.1f} | 0 | 0 | 0 | {licence} |")
    return "\n".join(lines)


def worst(results: dict[str, list[dict[str, str]]], split: str, corpus: str, count: int = 6) -> str:
    """Return some references with the model's wrong transcripts, every n-th one."""
    rows = [r for r in results[split + "_transcripts"] if r["corpus"] == corpus and r["reference"] != r["hypothesis"]]
    step = max(1, len(rows) // count)
    lines = ["| said | transcript |", "|---|---|"]
    return "\n".join(lines + [f"| {r['reference']} | {r['hypothesis'] or '(nothing)'} |" for r in rows[::step][:count]])


def errors(results: dict[str, list[dict[str, str]]]) -> str:
    """Return some wrong transcripts of each corpus of eval, under its title."""
    return "\n\n".join(
        f"{TITLES.get(corpus, corpus)}:\n\n{worst(results, 'eval', corpus)}"
        for corpus in cast("Mapping[str, object]", results["eval"])
    )


def uses_of_eval(log: Path) -> str:
    """Say how often the eval split was used, and how often by measure.py (those lines have intervals)."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    closing = sum(any("wer_interval" in rates for rates in row.get("eval", {}).values()) for row in rows)
    return f"{len(rows)} times in all, {closing} of them by `report/measure.py`"


def measured_on(log: Path, sha256: str) -> str:
    """Return the day of the last use of the eval split with these weights; raises ValueError where there is none."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    days = [row["when"][:10] for row in rows if row.get("sha256") == sha256]
    if not days:
        raise ValueError(f"{log} has no line of the weights {sha256}")
    return str(days[-1])


def confusions(results: dict[str, list[dict[str, str]]], count: int = 12) -> str:
    """Return the words of the eval split that are missing most often, with how often they occur."""
    said: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for row in results["eval_transcripts"]:
        written = Counter(row["hypothesis"].split())
        for word, times in Counter(row["reference"].split()).items():
            said[word] += times
            lost[word] += max(0, times - written[word])
    return ", ".join(f"{word} {times} of {said[word]}" for word, times in lost.most_common(count))


def train_gap(results: dict[str, dict[str, dict[str, object]]]) -> str:
    """Compare CER on a sample of train with dev, corpus by corpus."""
    pairs = [
        f"{corpus} {row['cer']} against {results['dev'][corpus]['cer']}"
        for corpus, row in results["train"].items()
        if corpus in results["dev"]
    ]
    return "CER % on a sample of train against dev: " + "; ".join(pairs) + "."


def last_measured(rows: list[dict[str, object]]) -> tuple[str, dict[str, dict[str, float]]] | None:
    """Return the budget used at the last measurement on dev, as two cells, and its error rates; None without any."""
    measured = [row for row in rows if "dev" in row]
    if not measured:
        return None
    dev = measured[-1]["dev"]
    assert isinstance(dev, dict)
    return f"{float(str(measured[-1]['audio_hours'])):.1f} | {float(str(measured[-1]['cpu_minutes'])):.1f}", dev


def trials_table(trials: list[dict[str, str]]) -> str:
    """Return a table of what was tried: the last measurement on dev of each run in logs/ with its budget."""
    lines = [
        "| trial | hours of audio | CPU min | dev LibriSpeech WER % | CER % | commands WER % | wake exact % "
        "| verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for trial in trials:
        measured = last_measured(read_log(LOGS / f"{trial['log']}.jsonl"))
        if measured is None:
            continue
        spent, dev = measured
        cells = [dev[OPEN]["wer"], dev[OPEN]["cer"], dev[COMMANDS]["wer"], dev[WAKE]["exact"]]
        lines.append(f"| {trial['name']} | {spent} | " + " | ".join(map(str, cells)) + f" | {trial['verdict']} |")
    return "\n".join(lines)


def learning_table(runs: list[dict[str, str]]) -> str:
    """Return a table of equal short runs over hours of speech and over parameters: the last error rates of each."""
    lines = [
        "| run | real h | without transcript h | synthetic h | parameters | hours of audio | CPU min "
        "| dev LibriSpeech CER % | LJSpeech CER % | commands CER % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        rows = read_log(LOGS / f"{run['log']}.jsonl")
        measured, hours = last_measured(rows), rows[0]["hours"]
        assert isinstance(hours, dict) and measured is not None
        spent, dev = measured
        speech = Counter[str]()
        for corpus, size in hours.items():
            kind = "synthetic" if "synthetic" in corpus else "silent" if "dialogue" in corpus else "real"
            speech[kind] += size
        cells = [f"{speech[kind]:.2f}" for kind in ("real", "silent", "synthetic")]
        cells += [f"{rows[0]['parameters']:,}", spent]
        cells += [str(dev[corpus]["cer"]) for corpus in (OPEN, BOOK, COMMANDS)]
        lines.append(f"| {run['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def budget(log: Path) -> str:
    """Say in one line how much audio and processor time a run used."""
    rows = read_log(log)
    hours, minutes = float(str(rows[-1]["audio_hours"])), float(str(rows[-1]["cpu_minutes"]))
    return f"Trained on {hours:.1f} hours of audio (repeats counted) in {minutes:.0f} minutes of processor time."


def show_in_readme(readme: Path, text: str) -> None:
    """Put a text between the README's two marks; raises ValueError where they are missing."""
    before, begin, rest = readme.read_text("utf-8").partition("<!-- embedded model: begin -->\n")
    _, end, after = rest.partition("<!-- embedded model: end -->")
    if not begin or not end:
        raise ValueError(f"{readme} lacks the marks of the embedded model's table")
    readme.write_text(f"{before}{begin}{text}\n{end}{after}", "utf-8")


def card(template: str, manifest: Path, evidence: Path, notes: dict[str, Any], log: str | None) -> str:
    """Return the template filled with what `evidence` has measured of the shipped weights, or of another run.

    `log` names the run in `evidence`/logs; None means the shipped one, which the notes name.
    """
    results, logs = json.loads((evidence / "results.json").read_text("utf-8")), evidence / "logs"
    stores = json.loads((logs / "stores.json").read_text("utf-8"))
    head = json.loads((logs / "head.json").read_text("utf-8"))["dev"]
    named = [corpus for corpus in (OPEN, COMMANDS) if corpus in head] or list(head)
    fields = {
        "parameters": f"{results['parameters']:,}",
        "bytes": f"{results['bytes']:,}",
        "sha256": results["sha256"],
        "rates": rate_table(results),
        "data": data_table(manifest, stores, notes["licences"]),
        "budget": budget(logs / f"{log or notes['shipped']}.jsonl"),
        "head_dev": "WER " + ", ".join(f"{corpus} {head[corpus]['wer']} %" for corpus in named),
        "errors": errors(results),
        "eval_uses": uses_of_eval(evidence / "eval_readings.jsonl"),
        "lost": confusions(results),
        "train_gap": train_gap(results),
    }
    if log is None:
        fields |= notes["text"]
        fields |= {"trials": trials_table(notes["trials"]), "learning": learning_table(notes["learning"])}
    text = _OF_SHIPPED.sub(r"\1" if log is None else "", template)
    for name, value in fields.items():
        text = text.replace("{{" + name + "}}", value)
    return re.sub(r"\n{3,}", "\n\n", text)


def main() -> None:
    """Write the card into the checkpoint; of the shipped one also MODEL_CARD.md, and its table in the top README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--evidence", type=Path, default=HERE, help="folder of results.json, logs/ and curves/")
    parser.add_argument("--log", help="NAME in logs/ of the run that made the weights; omit for the shipped ones")
    parser.add_argument(
        "--notes", type=Path, default=FOLDER / "card_notes.json", help="names and verdicts of the trials"
    )
    parser.add_argument("--template", type=Path, default=FOLDER / "card_template.md")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    options = parser.parse_args()
    shipped = options.checkpoint.resolve() == SHIPPED
    if options.log is None and not shipped:
        parser.error(f"the notes are on {SHIPPED}: give the --log of the run that made {options.checkpoint}")
    template, notes = options.template.read_text("utf-8"), json.loads(options.notes.read_text("utf-8"))
    text = card(template, options.manifest, options.evidence, notes, options.log)
    if shipped:
        (HERE / "MODEL_CARD.md").write_text(text, "utf-8")
        results = json.loads((options.evidence / "results.json").read_text("utf-8"))
        day = measured_on(options.evidence / "eval_readings.jsonl", results["sha256"])
        how = "greedy, no language model, speech that was not in its training"
        source = f"Measured on {day} by `recipes/embedded/report/measure.py` in float32: {how}."
        show_in_readme(HERE.parent.parent / "README.md", f"{source}\n\n{rate_table(results, ('eval', 'test'))}")
        text = text.replace("(curves/", "(../curves/")
    (options.checkpoint / "README.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
