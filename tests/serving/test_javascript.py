"""OpenAI's JavaScript client in realtime; run by ``scripts/test --page``, which installs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soxr
from tests.serving.conftest import Running

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import ServerOptions


@pytest.mark.page
def test_a_committed_item_has_the_text_of_transcribe(
    catalogue: Catalogue, recordings: list[Path], tmp_path: Path
) -> None:
    """The client speaks to its realtime API over https only, so the server has a certificate."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    samples = soxr.resample(read.load(recordings[0]), 16000, 24000)
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    (tmp_path / "talk.pcm").write_bytes(pcm.tobytes())
    with wav2edge.Transcriber() as transcribe:
        expected = transcribe(pcm, 24000).text
    script = Path(__file__).parent / "realtime.mjs"
    with Running(catalogue, ServerOptions(port=0, certificate=certificate, key=key)) as server:
        command = ["node", str(script), f"{server.url}/v1", str(tmp_path / "talk.pcm")]
        environment = {**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}  # it signed its certificate itself
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"deltas": expected, "transcript": expected}
