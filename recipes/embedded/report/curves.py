"""Draw losses and error rates on dev over hours of audio and processor time, from training logs.

python -m recipes.embedded.report.curves NAME=LOG… --out FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

OPEN, COMMANDS, WAKE = "librispeech-train-clean-100", "picovoice-speech-to-intent", "picovoice-wake-words"
BOOK = "ljspeech"
KINDS = ((OPEN, "wer"), (OPEN, "cer"), (COMMANDS, "wer"), (WAKE, "exact"))
LEARNING = ((OPEN, "cer"), (BOOK, "cer"), (COMMANDS, "cer"), (WAKE, "cer"))


def read_log(path: Path) -> list[dict[str, object]]:
    """Read the lines of one run's log."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def dev_points(rows: list[dict[str, object]], corpus: str, rate: str, over: str) -> list[tuple[float, float]]:
    """Return (x, rate) of every measurement of a corpus on dev in a log; `over` names the x value of a row."""
    points = []
    for row in rows:
        dev = row.get("dev")
        if isinstance(dev, dict) and corpus in dev:
            points.append((float(str(row[over])), float(dev[corpus][rate])))
    return points


def draw_losses(logs: dict[str, Path], out: Path) -> None:
    """Draw every loss of every run over hours of audio."""
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 3.6))
    for axis, loss in zip(axes, ("front", "features", "posteriors", "ctc")):
        for name, path in logs.items():
            rows = [row for row in read_log(path) if loss in row]
            axis.plot([row["audio_hours"] for row in rows], [row[loss] for row in rows], label=name)
        axis.set_title(f"{loss} loss"), axis.set_xlabel("hours of audio"), axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    pyplot.close(figure)


def draw_rates(
    logs: dict[str, Path], out: Path, over: str, label: str, kinds: tuple[tuple[str, str], ...] = KINDS
) -> None:
    """Draw dev error rates of every run over hours of audio or processor minutes."""
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 3.6))
    for axis, (corpus, rate) in zip(axes, kinds):
        for name, path in logs.items():
            points = dev_points(read_log(path), corpus, rate, over)
            axis.plot([x for x, _ in points], [y for _, y in points], marker=".", label=name)
        axis.set_title(f"dev {corpus}: {rate} %", fontsize=9), axis.set_xlabel(label), axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Draw the curves of the runs given as NAME=LOG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs="+", help="NAME=path/to/log.jsonl")
    parser.add_argument("--learning", nargs="*", default=[], help="NAME=LOG of equal short runs, for learning.png")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    logs, learning = (
        {name: Path(path) for name, path in (item.split("=", 1) for item in items)}
        for items in (options.logs, options.learning)
    )
    if learning:
        draw_rates(learning, options.out / "learning.png", "cpu_minutes", "processor minutes", LEARNING)
    draw_losses(logs, options.out / "losses.png")
    draw_rates(logs, options.out / "over_hours.png", "audio_hours", "hours of audio")
    draw_rates(logs, options.out / "over_minutes.png", "cpu_minutes", "processor minutes")


if __name__ == "__main__":
    main()
