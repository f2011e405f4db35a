"""Time and memory of calibrating: the whole of `wav2edge quantize --no-search`, stage by stage.

    python benchmarks/quantization_cost.py BASE_BUNDLE --speech MANIFEST [--clips 100] [--variants NAME,NAME]

The bundle may have random weights: every variant is built and judged on the built-in clips once, without a search, and
the gate's verdict is ignored. Prints each stage's seconds, the processor's seconds, and the peak of memory; exits 1
above the limits for 100 clips of base shape: 10 minutes, 6 GB. Only the two passes over the clips grow with their
number: from fewer clips the time for 100 is computed. The bundle is copied, not changed.
"""

from __future__ import annotations

import re
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import _kit

from wav2edge.calibration.clips import BUILT_IN
from wav2edge.calibration.options import Options
from wav2edge.calibration.quantize import quantize
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

CLIPS, ALLOWED_SECONDS, ALLOWED_GB = 100, 600.0, 6.0
GROWING = ("looking for outliers", "calibrating")


class Stages:
    """Sums the time between two reports of progress under the stage that was running."""

    def __init__(self, output: _kit.Output) -> None:
        """Start the clock."""
        self.output = output
        self.seconds: dict[str, tuple[float, float]] = {}
        self.stage, self.since = "reading the bundle and the clips", (time.perf_counter(), time.process_time())

    def __call__(self, stage: str, done: int, total: int) -> None:
        """The callback of `quantize`."""
        now = (time.perf_counter(), time.process_time())
        stage = re.sub(r": candidate \d+.*", ": build and judge", stage)
        wall, cpu = self.seconds.get(self.stage, (0.0, 0.0))
        wall, cpu = wall + now[0] - self.since[0], cpu + now[1] - self.since[1]
        self.seconds[self.stage] = (wall, cpu)
        if stage != self.stage:  # printed at once, so that an interrupted run shows the times so far
            self.output.say(f"{self.stage:45} {wall:7.1f} s  ({cpu:.1f} s of processor time)")
        self.stage, self.since = stage, now


def main() -> int:
    """Measure once; 1 above what is allowed."""
    parser = _kit.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--speech", default=BUILT_IN)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--variants", default=",".join(Options().names))
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments) as output:
        shutil.copytree(arguments.bundle, Path(folder) / "bundle")
        options = Options(
            variants=tuple(arguments.variants.split(",")),
            searching=False,
            force=True,
            limit=arguments.clips,
            threads=arguments.threads,
        )
        stages = Stages(output)
        started = time.perf_counter()
        dev = None if arguments.speech == BUILT_IN else embedded.clips_manifest()  # the same clips: held out
        made = quantize(Bundle.open(Path(folder) / "bundle"), arguments.speech, dev, options, stages)
        stages("end", 0, 0)
        total = time.perf_counter() - started
        clips = next(iter(made.record["variants"].values()))["calibrated_on"]["clips"]
        passes = sum(wall for stage, (wall, _) in stages.seconds.items() if stage in GROWING)
        full = total + passes * (CLIPS / clips - 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
        output.say("", f"calibrated on {clips} clips; {len(made.outcomes)} variants")
        output.say(f"{passes / clips:.2f} s for each clip in the passes over them; {total:.0f} s in all")
        output.say(f"time for {CLIPS} clips: {full:.0f} s (allowed: {ALLOWED_SECONDS:.0f} s)")
        output.say(f"peak memory: {peak:.2f} GB (allowed: {ALLOWED_GB:g} GB)")
    return int(full > ALLOWED_SECONDS or peak > ALLOWED_GB)


if __name__ == "__main__":
    sys.exit(main())
