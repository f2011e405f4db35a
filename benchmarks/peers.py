"""The same checkpoint in wav2edge and in other tools, turn by turn: latency, memory, and whether the words are equal.

    python benchmarks/peers.py [--models embedded] [--docs docs/figures/peers-embedded.md] [--speech FILE]
    python benchmarks/peers.py --peers eager,openvino --models embedded --seconds 1 --turns 2     # to try

The checkpoints are a base shape of random weights with group norm and with layer norm (only time and memory count), and
the embedded one, whose words are compared with those of wav2edge in FP32. Every tool is installed in an environment of
its own, of the versions in _peers/environments.py, and converts the checkpoint as its users do; each row is a process
of its own. They take turns, forwards and backwards, --together of them at a time, wav2edge's choice always among them:
a ratio is the median of those within a turn. The machine's INT8 peak is measured in every turn too. "Mixed files" are
the clips of --speech one after another, for random weights every fourth, after a first round over them that prepares
and is not counted. Environments and converted checkpoints stay in the user's cache (several GB); the first run makes
them, or one with --prepare. A row that cannot run shows the first line of the error.
--crispasr names models/convert-wav2vec2-to-gguf.py of CrispASR's repository, which its wheel lacks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import _kit
import _limits
import _shapes
import numpy as np
from _peers import environments
from _peers.process import Failed, Peer, Program, environment
from _peers.rows import OURS, ROWS, Result, Row, Turn
from _peers.table import bars, compared, keeping_words, table

from wav2edge.devices.choice import choose
from wav2edge.devices.detect import detect
from wav2edge.devices.open import open_model
from wav2edge.export import layouts
from wav2edge.runtime import cache
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import BundleError, InputError
from wav2edge.runtime.heads import ctc

PROGRAMS = Path(__file__).parent / "_peers"
EMBEDDED_CHECKPOINT = PROGRAMS.parents[1] / "recipes" / "embedded" / "checkpoint"
REST = 0.05
"""Seconds between runs: the threads of the one before spin for a moment."""
SLOW = 5.0
"""A peer whose first run takes longer, in seconds, is not run a second time before the turns."""

UNSPOKEN_EVERY = 4
"""Of random weights, whose words mean nothing, one in so many clips is run."""


@dataclass(frozen=True)
class Case:
    """A checkpoint and the bundle made of it. spoken: whether its words mean something."""

    name: str
    checkpoint: Path
    bundle: Bundle
    spoken: bool = False


def main() -> None:
    """Install, convert, take turns, print a table for each checkpoint and what is expected beside what was measured."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--peers", help="rows to run beside wav2edge's best: parts of their names, by comma")
    parser.add_argument("--models", nargs="+", default=[*CASES], choices=[*CASES])
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 5.0, 10.0, 30.0])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--together", type=int, default=6, help="processes at a time (default: 6, for 16 GB)")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds after which a row takes no more turns")
    parser.add_argument("--speech", help="manifest of clips whose words are compared (default: those that ship)")
    parser.add_argument("--clips", type=int, default=50, help="at most so many of them, evenly picked")
    parser.add_argument(
        "--prepare", action="store_true", help="install and convert what is missing, and measure nothing"
    )
    parser.add_argument("--crispasr", type=Path, metavar="FILE", help="CrispASR's converter")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments, markdown=True) as output:
        run, keeping = Run(arguments, Path(folder)), None
        for name in sorted(arguments.models, key=lambda name: name != SPOKEN):
            case = CASES[name]()
            results = run.case(case)
            if arguments.prepare:
                output.say(
                    f"{case.name}:", *(f"{result.row.name}: {result.reason or 'ready'}" for result in results), ""
                )
                continue
            ours = choose(case.bundle, threads=arguments.threads)
            output.say(f"**{case.name}**, {arguments.threads} threads, median (min) ms of {arguments.turns} turns.")
            output.say(f"wav2edge chooses {ours.variant.name} on {ours.engine} here:", "")
            spoken, expected = [row.text for row in run.rows] if case.spoken else [], run.reference(case)
            output.say(*table(results, arguments.seconds, expected, spoken), "")
            if case.spoken:
                keeping = keeping_words(results, expected, spoken)
                continue
            operations = _limits.products(case.checkpoint, compared(arguments.seconds))
            products = {turn: operations / rate for turn, rate in run.rates.items()}
            output.say(*bars(results, arguments.seconds, products, keeping), "")


class Run:
    """One run of the script: its options, its clips, and the processes it starts."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        """folder: for the samples that the peers read."""
        self._arguments, self._folder = arguments, folder
        self._peak = _limits.Peak(arguments.threads)
        self.rates: dict[Turn, float] = {}
        """The machine's INT8 peak beside each of wav2edge's runs of the compared clip, of the last case."""
        self.rows = _kit.rows_of(arguments.speech or str(embedded.clips_manifest()), limit=arguments.clips)
        self._clips = [read.load(row.audio, _kit.RATE) for row in self.rows]
        for place, clips in ("clips", self._clips), ("calibration", self._clips[:6]):
            (folder / place).mkdir()
            for number, clip in enumerate(clips):
                clip.astype(np.float32).tofile(folder / place / f"{number:03}.f32")
        self._places = sorted((folder / "clips").iterdir())
        self._timed = {length: folder / f"{length:g}.f32" for length in arguments.seconds}
        for length, path in self._timed.items():
            _kit.sound((), length).tofile(path)

    def reference(self, case: Case) -> list[str]:
        """The texts of wav2edge in FP32 on ONNX Runtime, where words mean something."""
        if not case.spoken:
            return []
        with open_model(case.bundle, "onnxruntime", "fp32", threads=self._arguments.threads) as model:
            found = [ctc.greedy(model.logits([clip])[0], model.spec) for clip in self._clips]
            return [ctc.joined(words, model.spec) for words in found]

    def case(self, case: Case) -> list[Result]:
        """Every row of a checkpoint."""
        wanted = [part.strip().lower() for part in (self._arguments.peers or "").split(",") if part.strip()]
        chosen = [row for row in ROWS if case.spoken or not row.other_model]
        if wanted:
            chosen = [row for row in chosen if row is OURS or any(part in row.words for part in wanted)]
        results = {row: Result(row) for row in chosen}
        self.rates = {}
        programs = dict(self._prepared(case, results))
        if self._arguments.prepare:
            return list(results.values())
        others = [row for row in programs if row is not OURS]
        size = max(1, self._arguments.together - 1)
        for heat, start in enumerate(range(0, max(1, len(others)), size)):
            rows = [*([OURS] if OURS in programs else []), *others[start : start + size]]
            self._heat(heat, case, {row: programs[row] for row in rows}, results)
        return list(results.values())

    def _prepared(self, case: Case, results: dict[Row, Result]) -> Iterator[tuple[Row, tuple[Program, Path]]]:
        root = cache.directory("benchmarks", "peers")
        for row, result in results.items():
            try:
                yield row, self._program(case, row, root)
            except (environments.NotMade, Failed, InputError, BundleError) as error:
                result.reason = str(error).partition("\n")[0]

    def _program(self, case: Case, row: Row, root: Path) -> tuple[Program, Path]:
        """The program of a row and the folder that it loads, made where they are missing."""
        command = environments.interpreter(row.environment, root / "environments")
        module = row.program.endswith(".mjs")
        words = [*command, str(PROGRAMS / row.program)] if module else [*command, "-m", f"_peers.{row.program}"]
        more = {"MODULES": str(root / "environments" / "node" / "node_modules")}
        if self._arguments.crispasr:
            more["CRISPASR_CONVERTER"] = str(self._arguments.crispasr.resolve())
        if not row.environment:
            more["PYTHONPATH"] = os.pathsep.join([str(PROGRAMS.parent), os.environ.get("PYTHONPATH", "")])
        program = Program(words, environment(**more))
        if row.source == "bundle":
            return program, case.bundle.path
        file = PROGRAMS / (row.program if module else f"{row.program}.py")
        made = environments.digest(row.environment, file)
        if row.source != "checkpoint":
            target = self._folder / f"{case.checkpoint.name} {row.source} {row.variant}"
            layouts.pack(case.bundle, row.source, target, variants=[row.variant])
            return program, target
        stamp = int((case.checkpoint / "model.safetensors").stat().st_mtime)
        target = root / "prepared" / f"{case.checkpoint.parent.name}-{case.checkpoint.name}-{stamp}"
        target = target / f"{row.program}-{row.variant}-{made}"
        program.prepare(case.checkpoint, target, row.variant, self._folder / "calibration")
        return program, target

    def _heat(
        self, heat: int, case: Case, programs: dict[Row, tuple[Program, Path]], results: dict[Row, Result]
    ) -> None:
        """Start some rows, let them take turns at every length, and end them."""
        running: dict[Row, Peer] = {}
        try:
            for row, (program, target) in programs.items():
                log = self._folder / f"{heat} {row.program} {row.variant.replace('/', ' ')}.log"
                with noted(results[row]):
                    running[row] = Peer(program, target, row.variant, self._arguments.threads, log)
            self._mixed(case, running, results)
            for length, clip in self._timed.items():
                self._turns(heat, length, clip, running, results)
            for row, peer in running.items():
                if not results[row].reason:
                    with noted(results[row]):
                        results[row].above, results[row].peak = peer.memory()
        finally:
            for peer in running.values():
                peer.close()

    def _mixed(self, case: Case, running: dict[Row, Peer], results: dict[Row, Result]) -> None:
        """Let each row that has not yet done so run over the clips: their words, then how fast."""
        places = self._places[:: 1 if case.spoken else UNSPOKEN_EVERY]
        seconds = sum(place.stat().st_size for place in places) / 4 / _kit.RATE
        for row, peer in running.items():
            if results[row].mixed:
                continue
            with noted(results[row]):
                texts = [peer.run(place)[1] for place in places]
                results[row].texts = texts if case.spoken else []
                results[row].mixed = seconds / sum(peer.run(place)[0] for place in places)

    def _turns(
        self, heat: int, length: float, clip: Path, running: dict[Row, Peer], results: dict[Row, Result]
    ) -> None:
        """Warm up, then let every row run in turn until it has taken its turns or its time."""
        for row, peer in running.items():
            with noted(results[row]):
                if not results[row].reason and peer.run(clip)[0] < SLOW:
                    peer.run(clip)
        for turn in range(self._arguments.turns):
            for row in list(running)[:: -1 if turn % 2 else 1]:
                result = results[row]
                spent = sum(result.times.get(length, {}).values()) if row is not OURS else 0.0
                if result.reason or (turn > 1 and spent > self._arguments.limit):
                    continue
                time.sleep(REST)
                with noted(result):
                    result.times.setdefault(length, {})[heat, turn] = running[row].run(clip)[0]
                if row is OURS and length == compared(self._arguments.seconds):
                    time.sleep(REST)
                    self.rates[heat, turn] = self._peak.rate()


@contextlib.contextmanager
def noted(result: Result) -> Iterator[None]:
    """Keep a peer's failure as its row's reason."""
    try:
        yield
    except Failed as error:
        result.reason = str(error)


def _base(norm: _shapes.Norm) -> Case:
    made = _shapes.bundle(
        "base", norm, (*_shapes.VARIANTS, "int8-u7s8") if detect().cpu.saturates else _shapes.VARIANTS
    )
    checkpoint = _shapes.folder() / f"base-{norm}-checkpoint"
    if not (checkpoint / "model.safetensors").is_file():
        _shapes.checkpoint("base", norm, checkpoint)
    return Case(f"Base shape (94 M parameters, random weights), {norm} norm", checkpoint, made)


SPOKEN = "embedded"
CASES = {
    "base-group": lambda: _base("group"),
    "base-layer": lambda: _base("layer"),
    SPOKEN: lambda: Case(
        "Embedded checkpoint (layer norm)", EMBEDDED_CHECKPOINT, Bundle.open(embedded.bundle_path()), spoken=True
    ),
}
"""The checkpoints by name, made on use."""

if __name__ == "__main__":
    main()
