"""Write MODEL_CARD.md from what was measured: no number in it is typed by hand."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from curves import COMMANDS, OPEN, WAKE, read_log
from data import read_manifest, split_of

HERE = Path(__file__).parent


def rate_table(results: dict[str, dict[str, dict[str, object]]]) -> str:
    """Table of WER, CER and exact phrases with intervals for each corpus of each split."""
    lines = ["| split | corpus | clips | WER % (95 %) | CER % (95 %) | exact % (95 %) |", "|---|---|---|---|---|---|"]
    for split in ("eval", "test", "dev"):
        for corpus, row in results[split].items():
            cells = [f"{row[k]} ({row[k + '_interval'][0]}–{row[k + '_interval'][1]})" for k in ("wer", "cer", "exact")]  # type: ignore[index]
            lines.append(f"| {split} | {corpus} | {row['clips']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def data_table(manifest: Path, synthetic: list[dict[str, object]]) -> str:
    """Table of corpora with hours by split and licence."""
    hours: dict[tuple[str, str], Counter[str]] = {}
    for row in read_manifest(manifest):
        hours.setdefault((row.corpus, row.licence), Counter())[split_of(row)] += row.seconds / 60  # type: ignore[assignment]
    lines = ["| corpus | train min | dev min | test min | eval min | licence |", "|---|---|---|---|---|---|"]
    for (corpus, licence), minutes in hours.items():
        cells = [f"{minutes[split]:.1f}" for split in ("train", "dev", "test", "eval")]
        lines.append(f"| {corpus} | " + " | ".join(cells) + f" | {licence} |")
    for row in synthetic:
        lines.append(f"| {row['corpus']} | {row['minutes']} | 0 | 0 | 0 | {row['licence']} |")
    return "\n".join(lines)


def worst(results: dict[str, list[dict[str, str]]], split: str, corpus: str, count: int = 6) -> str:
    """Some references and what was read instead, every n-th wrong one."""
    rows = [r for r in results[split + "_readings"] if r["corpus"] == corpus and r["reference"] != r["hypothesis"]]
    step = max(1, len(rows) // count)
    lines = ["| said | read |", "|---|---|"]
    return "\n".join(lines + [f"| {r['reference']} | {r['hypothesis'] or '(nothing)'} |" for r in rows[::step][:count]])


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


def trials_table(trials: list[dict[str, object]]) -> str:
    """Table of what was tried: best dev rates of each trial with its budget."""
    lines = [
        "| trial | hours heard | CPU min | dev LibriSpeech WER % | CER % | commands WER % | wake exact % | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for trial in trials:
        row = trial["at"]
        assert isinstance(row, dict)
        dev = row["dev"]
        cells = [dev[OPEN]["wer"], dev[OPEN]["cer"], dev[COMMANDS]["wer"], dev[WAKE]["exact"]]
        lines.append(
            f"| {trial['name']} | {row['heard']} | {row['cpu_minutes']} | "
            + " | ".join(str(c) for c in cells)
            + f" | {trial['verdict']} |"
        )
    return "\n".join(lines)


def last_reading(log: Path) -> dict[str, object]:
    """The last dev reading of a run."""
    return [row for row in read_log(log) if "dev" in row][-1]


def main() -> None:
    """Fill the template with measurements and write the card beside the recipe and into the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--runs", type=Path, default=HERE / "runs.json", help="measured trials and budgets")
    parser.add_argument("--template", type=Path, default=HERE / "card_template.md")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    options = parser.parse_args()
    results, runs = json.loads(options.results.read_text()), json.loads(options.runs.read_text())
    text = options.template.read_text("utf-8")
    fields = {
        "parameters": f"{results['parameters']:,}",
        "bytes": f"{results['bytes']:,}",
        "sha256": results["sha256"],
        "rates": rate_table(results),
        "data": data_table(options.manifest, runs["synthetic"]),
        "trials": trials_table(runs["trials"]),
        "open_errors": worst(results, "eval", "librispeech-test-other"),
        "command_errors": worst(results, "eval", COMMANDS),
        "lost": confusions(results),
        **{name: str(value) for name, value in runs["facts"].items()},
    }
    for name, value in fields.items():
        text = text.replace("{{" + name + "}}", value)
    (HERE / "MODEL_CARD.md").write_text(text, "utf-8")
    (options.checkpoint / "README.md").write_text(text.replace("(curves/", "(../curves/"), "utf-8")


if __name__ == "__main__":
    main()
