"""Write the model card: tables from files that scripts measured, prose about the shipped weights from card_notes.json.

Of other weights (`--log`) the card has the tables alone and lies in their folder, with what was measured of them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from curves import BOOK, COMMANDS, OPEN, WAKE, read_log
from data import read_manifest, split_of

HERE = Path(__file__).resolve().parent
LOGS = HERE / "logs"
SHIPPED = HERE / "checkpoint"
TITLES = {
    "librispeech-test-other": "LibriSpeech test-other, unseen speakers and open vocabulary",
    COMMANDS: "Coffee commands",
}
_OF_SHIPPED = re.compile(r"\{\{shipped: begin\}\}(.*?)\{\{shipped: end\}\}", re.DOTALL)
"""What a template says of the shipped weights only, between marks."""


def rate_table(
    results: dict[str, dict[str, dict[str, object]]], splits: tuple[str, ...] = ("eval", "test", "dev")
) -> str:
    """Table of WER, CER and exact phrases with intervals for each corpus of each split."""
    lines = ["| split | corpus | clips | WER % (95 %) | CER % (95 %) | exact % (95 %) |", "|---|---|---|---|---|---|"]
    for split in splits:
        for corpus, row in results[split].items():
            cells = [f"{row[k]} ({row[k + '_interval'][0]}–{row[k + '_interval'][1]})" for k in ("wer", "cer", "exact")]  # type: ignore[index]
            lines.append(f"| {split} | {corpus} | {row['clips']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def data_table(manifest: Path, stores: dict[str, dict[str, dict[str, float]]], licences: dict[str, str]) -> str:
    """Table of corpora with minutes by split and licence, those that no manifest lists last."""
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
            if corpus not in known or store == "ljspeech-more":
                others[corpus] += size["minutes"]  # type: ignore[assignment]
    for corpus, total in others.items():
        title = f"{corpus} (more of it)" if corpus in known else corpus
        licence = licences.get(corpus) or next((text for name, text in minutes if name == corpus), "")
        lines.append(f"| {title} | {total:.1f} | 0 | 0 | 0 | {licence} |")
    return "\n".join(lines)


def worst(results: dict[str, list[dict[str, str]]], split: str, corpus: str, count: int = 6) -> str:
    """Some references and what was read instead, every n-th wrong one."""
    rows = [r for r in results[split + "_readings"] if r["corpus"] == corpus and r["reference"] != r["hypothesis"]]
    step = max(1, len(rows) // count)
    lines = ["| said | read |", "|---|---|"]
    return "\n".join(lines + [f"| {r['reference']} | {r['hypothesis'] or '(nothing)'} |" for r in rows[::step][:count]])


def errors(results: dict[str, list[dict[str, str]]]) -> str:
    """Some wrong readings of each corpus of eval, under its title."""
    return "\n\n".join(
        f"{TITLES.get(corpus, corpus)}:\n\n{worst(results, 'eval', corpus)}" for corpus in results["eval"]
    )


def readings_of_eval(log: Path) -> str:
    """Say how often the eval split was read, and how many of the readings were closing.py's (they have intervals)."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    closing = sum(any("wer_interval" in rates for rates in row.get("eval", {}).values()) for row in rows)
    return f"{len(rows)} times in all, {closing} of them by `closing.py`"


def confusions(results: dict[str, list[dict[str, str]]], count: int = 12) -> str:
    """The words of the eval split that are lost most often, with how often they occur."""
    said: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for row in results["eval_readings"]:
        heard = Counter(row["hypothesis"].split())
        for word, times in Counter(row["reference"].split()).items():
            said[word] += times
            lost[word] += max(0, times - heard[word])
    return ", ".join(f"{word} {times} of {said[word]}" for word, times in lost.most_common(count))


def train_gap(results: dict[str, dict[str, dict[str, object]]]) -> str:
    """Compare CER on a sample of train with dev, corpus by corpus."""
    pairs = [
        f"{corpus} {row['cer']} against {results['dev'][corpus]['cer']}"
        for corpus, row in results["train"].items()
        if corpus in results["dev"]
    ]
    return "CER % on a sample of train against dev: " + "; ".join(pairs) + "."


def last_reading(rows: list[dict[str, object]]) -> tuple[str, dict[str, dict[str, float]]] | None:
    """What a run had spent at its last dev reading, as two cells, and that reading; None: a log without any."""
    readings = [row for row in rows if "dev" in row]
    if not readings:
        return None
    dev = readings[-1]["dev"]
    assert isinstance(dev, dict)
    return f"{float(str(readings[-1]['heard'])):.1f} | {float(str(readings[-1]['cpu_minutes'])):.1f}", dev


def trials_table(trials: list[dict[str, str]]) -> str:
    """Table of what was tried: the last dev reading of each run in logs/ with its budget."""
    lines = [
        "| trial | hours heard | CPU min | dev LibriSpeech WER % | CER % | commands WER % | wake exact % | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for trial in trials:
        reading = last_reading(read_log(LOGS / f"{trial['log']}.jsonl"))
        if reading is None:
            continue
        spent, dev = reading
        cells = [dev[OPEN]["wer"], dev[OPEN]["cer"], dev[COMMANDS]["wer"], dev[WAKE]["exact"]]
        lines.append(f"| {trial['name']} | {spent} | " + " | ".join(map(str, cells)) + f" | {trial['verdict']} |")
    return "\n".join(lines)


def learning_table(runs: list[dict[str, str]]) -> str:
    """Table of equal short runs over hours of speech and over parameters: the last dev reading of each."""
    lines = [
        "| run | real h | without transcript h | synthetic h | parameters | hours heard | CPU min "
        "| dev LibriSpeech CER % | LJSpeech CER % | commands CER % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        rows = read_log(LOGS / f"{run['log']}.jsonl")
        reading, hours = last_reading(rows), rows[0]["hours"]
        assert isinstance(hours, dict) and reading is not None
        spent, dev = reading
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
    """Say in one line what a run heard and used."""
    rows = read_log(log)
    heard, minutes = float(str(rows[-1]["heard"])), float(str(rows[-1]["cpu_minutes"]))
    return f"Heard {heard:.1f} hours of audio (repeats counted) in {minutes:.0f} minutes of processor time."


def show_in_readme(readme: Path, table: str) -> None:
    """Put the table between the README's two marks; raises ValueError where they are missing."""
    before, begin, rest = readme.read_text("utf-8").partition("<!-- embedded model: begin -->\n")
    _, end, after = rest.partition("<!-- embedded model: end -->")
    if not begin or not end:
        raise ValueError(f"{readme} lacks the marks of the embedded model's table")
    readme.write_text(f"{before}{begin}{table}\n{end}{after}", "utf-8")


def card(template: str, manifest: Path, evidence: Path, notes: dict[str, Any], log: str | None) -> str:
    """Fill a template with what was measured in `evidence`: of the shipped weights with the notes on them, or of a run.

    `log` names the run in `evidence`/logs; None is the shipped one, that the notes name.
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
        "eval_readings": readings_of_eval(evidence / "eval_readings.jsonl"),
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
    parser.add_argument("--log", help="NAME in logs/ of the run that made the weights; left out for the shipped ones")
    parser.add_argument("--notes", type=Path, default=HERE / "card_notes.json", help="names and verdicts of the trials")
    parser.add_argument("--template", type=Path, default=HERE / "card_template.md")
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
        show_in_readme(HERE.parent.parent / "README.md", rate_table(results, ("eval", "test")))
        text = text.replace("(curves/", "(../curves/")
    (options.checkpoint / "README.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
