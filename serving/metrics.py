"""The metrics for Prometheus at /metrics (text format 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

import numpy as np

from .scheduler import Scheduler

_BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counts of requests and of lost sound; ``text`` adds the scheduler's counts."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refused: Counter[str] = Counter()
        self.dropped_seconds = 0.0
        self.cut_clients = 0
        self.audio_seconds: Counter[str] = Counter()

    def request(self, path: str, status: int) -> None:
        """Count a response."""
        with self._lock:
            self.requests[path, status] += 1

    def received(self, kind: str, seconds: float) -> None:
        """Count seconds of sound, of ``files`` or ``streams``."""
        with self._lock:
            self.audio_seconds[kind] += round(seconds, 3)  # type: ignore[assignment]

    def drop(self, seconds: float) -> None:
        """Count sound that was dropped."""
        with self._lock:
            self.dropped_seconds += seconds

    def cut(self) -> None:
        """Count a client that was disconnected because it read its events too slowly."""
        with self._lock:
            self.cut_clients += 1

    def text(self, scheduler: Scheduler, lost_decoders: int, files: int, memory: int) -> str:
        """Everything as one page."""
        counts = scheduler.counts
        lines: list[str] = []

        def add(name: str, kind: str, about: str, values: Iterable[tuple[str, float]]) -> None:
            lines.extend([f"# HELP wav2edge_{name} {about}", f"# TYPE wav2edge_{name} {kind}"])
            lines.extend(f"wav2edge_{name}{labels} {value:.10g}" for labels, value in values)

        with self._lock:
            requests, received = dict(self.requests), dict(self.audio_seconds)
        add("streams", "gauge", "Live streams now.", [("", scheduler.streams)])
        add("files", "gauge", "Recordings uploaded, waiting or being transcribed.", [("", files)])
        add("queue_seconds", "gauge", "Sound of streams that waits, s.", [("", scheduler.sound_waiting())])
        add("queue_chunks", "gauge", "Chunks of files that wait.", [("", scheduler.chunks_waiting)])
        batches = dict(counts.batches)
        sizes = [(f'{{le="{size}"}}', sum(n for of, n in batches.items() if of <= size)) for size in _BATCHES]
        lines += ["# HELP wav2edge_batch_size Runs put together in one batch.", "# TYPE wav2edge_batch_size histogram"]
        lines += [f"wav2edge_batch_size_bucket{labels} {value}" for labels, value in sizes]
        lines += [
            f'wav2edge_batch_size_bucket{{le="+Inf"}} {sum(batches.values())}',
            f"wav2edge_batch_size_sum {sum(size * n for size, n in batches.items())}",
            f"wav2edge_batch_size_count {sum(batches.values())}",
        ]
        add("computed_seconds_total", "counter", "Seconds that runs of models took.", [("", counts.computed)])
        add("run_seconds_total", "counter", "Seconds of sound in these runs.", [("", counts.sound)])
        rtf = counts.computed / counts.sound if counts.sound else 0.0
        add("rtf", "gauge", "Seconds of computing for a second of sound run.", [("", rtf)])
        for name, about, values in (
            ("lag_seconds", "From a sound's arrival to its partial, of the last partials.", list(counts.lags)),
            ("wait_seconds", "From being due to being run, of the last windows of streams.", list(counts.waits)),
        ):
            shown = [(f'{{quantile="{q}"}}', float(np.quantile(values, q)) if values else 0.0) for q in (0.5, 0.95)]
            add(name, "summary", about, shown)
        add("dropped_seconds_total", "counter", "Sound of streams that was dropped, s.", [("", self.dropped_seconds)])
        add("cut_clients_total", "counter", "Clients cut for not taking their events.", [("", self.cut_clients)])
        add("errors_total", "counter", "Runs and streams that failed.", [("", counts.errors)])
        add("lost_decoders_total", "counter", "Processes lost to an upload.", [("", lost_decoders)])
        add("memory_bytes", "gauge", "Resident memory of the server.", [("", memory)])
        sound = [(f'{{kind="{kind}"}}', value) for kind, value in sorted(received.items())]
        add("audio_seconds_total", "counter", "Sound that was taken in, s.", sound)
        answers = [(f'{{path="{path}",status="{status}"}}', n) for (path, status), n in sorted(requests.items())]
        add("requests_total", "counter", "Responses.", answers)
        return "\n".join(lines) + "\n"
