"""The limits of a server; beyond them a client gets a status and one sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server. None of the defaults was measured; each is a round number far above ordinary use."""

    upload_bytes: int = 500_000_000
    """Bytes of one uploaded recording; default 500 MB, 4 h of 16-bit sound at 16 kHz. Status 413."""

    spool_bytes: int = 4_000_000_000
    """Bytes of all uploads that are on disk at once, those that arrive and decoded sound included; default 4 GB. While
    an upload is moved from its form to a file of its own it counts twice, as it is there twice. Status 503."""

    recording_seconds: float = 4 * 3600.0
    """Length of one recording, s; default 4 h. Status 413."""

    files: int = 256
    """Recordings that are uploaded, waiting or being transcribed; default 256. Status 503."""

    streams: int = 64
    """Live streams at once; default 64. Status 503, on a socket close code 1013."""

    streams_per_client: int = 8
    """Live streams of one address; default 8. Status 429, on a socket close code 1008."""

    subscribers: int = 256
    """Clients that watch one live stream; default 256. Status 503."""

    idle_seconds: float = 30.0
    """Seconds that a client may send nothing, in a request or on a socket; default 30. Status 408, close code 1008."""

    upload_rate: int = 1000
    """Bytes a second that a request must bring on average once its client was waited for ``idle_seconds``; default
    1000: codecs for speech need more. Else a few slow clients could hold every place for recordings. Status 408."""

    header_seconds: float = 20.0
    """Seconds that the headers of a request may take; default 20. Then its connection is closed."""

    stalled_seconds: float = 10.0
    """Seconds that a client may take to receive one event, or take nothing of an answer; default 10. Then its
    connection is closed. A socket is asked for a sign of life every so many seconds, and closed when none came for
    twice as many."""

    events: int = 256
    """Events that wait for a client; default 256. A newer partial replaces an older one; beyond that the client is
    disconnected."""

    backlog_seconds: float = 30.0
    """Seconds of sound of one stream that wait to be decoded; default 30. The oldest is dropped, and Dropped sent."""

    stream_seconds: float = 12 * 3600.0
    """Length of one live stream, s; default 12 h. Then it ends with its last finals and an error. Status 413, on a
    socket close code 1008."""

    memory_bytes: int | None = None
    """Resident memory from which work is refused; None: 85 % of the machine's or container's. Status 503."""

    connections: int = 4096
    """Connections at once, of HTTP and of Wyoming each; default 4096. Further ones are closed."""

    keywords: int = 100
    """Keywords of one request; default 100. Status 400."""

    stop_seconds: float = 30.0
    """Seconds that running utterances and files are given when the server is asked to stop; default 30."""
