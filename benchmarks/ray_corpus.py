"""A corpus on Ray nodes of this machine: the output of one machine, through losses, and the overhead.

    scripts/test --ray                                          # once: makes the environment .ray
    .ray/bin/python benchmarks/ray_corpus.py [MANIFEST] --count 500 --docs docs/figures/ray.md

The overhead is that of one worker of one CPU against one process with one thread: CPU and wall time, both without the
start, for each recording. Then, on three nodes, a worker is killed and a node removed on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from _kit import Output, parser

import wav2edge
from wav2edge.runtime.bundle import embedded
from wav2edge.serving import corpus, ray_corpus
from wav2edge.serving.corpus import CorpusItem, CorpusOutcome
from wav2edge.serving.ray_corpus import CorpusJob, RayOptions

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

_NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}


def opened() -> wav2edge.Transcriber:
    """The embedded model on one thread."""
    return wav2edge.Transcriber(wav2edge.open(threads=1))


def chosen(manifest: Path | None, count: int, folder: Path) -> list[CorpusItem]:
    """Recordings of a manifest, evenly picked, or those that ship, repeated under names of their own."""
    source = manifest or embedded.clips_manifest()
    names = [json.loads(line)["path"] for line in source.read_text("utf-8").splitlines()]
    picked = names[:: max(1, len(names) // count)][:count]
    paths = [source.parent / picked[number % len(picked)] for number in range(count)]
    (folder / "sound").mkdir()
    lines = []
    for number, path in enumerate(paths):
        name = f"sound/{number:04}{path.suffix}"
        (folder / name).symlink_to(path)
        lines.append(json.dumps({"path": name}) + "\n")
    (folder / "corpus.jsonl").write_text("".join(lines))
    return corpus.items(folder / "corpus.jsonl", folder / "out", ".json")


@contextlib.contextmanager
def nodes(count: int) -> Iterator[Cluster]:
    """A cluster of nodes of one CPU each."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=_NODE)
    try:
        for _ in range(count - 1):
            made.add_node(**_NODE)
        os.environ["RAY_ADDRESS"] = made.address
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def outputs(folder: Path) -> dict[str, str]:
    """All outputs, by name; the folder is emptied."""
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    shutil.rmtree(folder)
    return found


def main() -> None:
    """Measure and compare."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = parser(__doc__)
    made.add_argument(
        "manifest", type=Path, nargs="?", metavar="MANIFEST", help="recordings (default: those that ship)"
    )
    made.add_argument("--count", type=int, default=500, metavar="N", help="recordings (default: 500)")
    arguments = made.parse_args()
    with Output(arguments, markdown=True) as output, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items, out = chosen(arguments.manifest, arguments.count, folder), folder / "out"
        out.mkdir()
        with opened() as transcriber:
            began, cpu = time.perf_counter(), _cpu()
            done = list(corpus.run(transcriber, items, out / corpus.RESULTS / "alone.jsonl"))
            alone, alone_cpu = time.perf_counter() - began, _cpu() - cpu
        seconds = sum(outcome["seconds"] for outcome in done)
        expected = outputs(out)
        job = CorpusJob(opened, os.getcwd(), out, "json", 1)
        with nodes(1):
            out.mkdir()
            began, found = time.perf_counter(), []
            for _ in ray_corpus.run(job, items, RayOptions(workers=1)):
                found.append((time.perf_counter(), _cpu() + _cpu_of(_worker(out))))
            # Outcomes come by blocks: what follows the first block is steady.
            (first, first_cpu), (last, last_cpu) = found[RayOptions().block - 1], found[-1]
            count = len(found) - RayOptions().block
            steady, steady_cpu = (last - first) / count, (last_cpu - first_cpu) / count
        overhead = steady_cpu - alone_cpu / len(items)
        assert outputs(out) == expected, "other output"
        output.say(
            f"* {len(items)} recordings, {seconds / 60:.0f} min: one process with one thread {alone:.1f} s "
            f"({alone_cpu / len(items) * 1000:.1f} CPU-ms each)",
            f"* one Ray worker: {found[0][0] - began:.1f} s to the first outcome, then {steady * 1000:.1f} ms each; "
            f"with the driver {steady_cpu * 1000:.1f} CPU-ms each, {overhead * 1000:.1f} more than alone: "
            "the overhead of a recording; the same output",
        )
        with nodes(3) as cluster:
            out.mkdir()
            outcomes: list[CorpusOutcome] = []
            began = time.perf_counter()
            for outcome in ray_corpus.run(job, items):
                outcomes.append(outcome)
                if len(outcomes) == len(items) // 5:
                    os.kill(_worker(out), signal.SIGKILL)
                if len(outcomes) == len(items) // 2:
                    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
            taken = time.perf_counter() - began
        names = [outcome["path"] for outcome in outcomes]
        made_again = outputs(out)
        differ = sum(made_again.get(each) != text for each, text in expected.items())
        output.say(
            f"* three nodes, of which one is removed halfway, and a worker that is killed: {taken:.1f} s; "
            f"{len(set(expected) - set(made_again))} outputs lost, {len(names) - len(set(names))} outcomes twice, "
            f"{differ} outputs that differ from one machine's"
        )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_of(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _worker(folder: Path) -> int:
    """A worker that runs and has written to its list."""
    found = [int(path.stem.rsplit("-", 1)[1]) for path in (folder / corpus.RESULTS).glob("ray-*.jsonl")]
    return next(process for process in found if Path(f"/proc/{process}").exists())


if __name__ == "__main__":
    main()
