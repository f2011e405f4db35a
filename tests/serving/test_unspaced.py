"""A model that writes without spaces: the parts of a text, joined as they come, are the whole text."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from tests.serving.conftest import Running, blocks_of
from tests.serving.test_guard import FORM, asked, form
from tests.serving.test_realtime import append as append_sound
from tests.serving.test_realtime import opened, pcm, send, until, update
from tests.serving.test_wyoming import answer_of
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.model import Model
from wav2edge.serving.models import Catalogue, ServedModel
from wav2edge.serving.server import ServerOptions
from wav2edge.serving.wyoming import WyomingServer


class Both(Running):
    """A server with Wyoming."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue, ServerOptions(port=0))
        self.wyoming = WyomingServer("127.0.0.1", 0)
        extras = (self._hold, self.wyoming.serve)
        self._thread = threading.Thread(target=self.server.run, args=(self._ready.set, extras), daemon=True)


@pytest.fixture(scope="module")
def unspaced(catalogue: Catalogue) -> Iterator[Both]:
    """The embedded model as one whose labels are all words, like Chinese characters."""
    model = catalogue.models[0].model
    bundle = replace(model.bundle, spec=replace(model.spec, delimiter=None))
    live = LiveTranscriber(Model(bundle, model.engine, model.variant, model.options))
    served = ServedModel("characters", live.model, live, live.transcriber())
    running = Both(Catalogue((served,), catalogue.settings))
    with running:
        yield running
    live.close()


@pytest.fixture(scope="module")
def sound(recordings: list[Path]) -> NDArray[np.float32]:
    """Two sentences with a pause between them."""
    pause = np.zeros(2 * 16000, np.float32)
    return np.concatenate((*blocks_of(recordings[0]), pause, *blocks_of(recordings[1]), pause))


def test_deltas_of_a_recording(unspaced: Both, sound: NDArray[np.float32], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.flac", sound, 16000)
    body = form("talk.flac", (tmp_path / "talk.flac").read_bytes(), stream="true")
    code, answer = asked(unspaced.url + "/v1/audio/transcriptions", body, **{"Content-Type": FORM})
    assert code == 200, answer
    *deltas, done = [json.loads(line.removeprefix("data: ")) for line in answer.split("\n\n") if line]
    assert len(deltas) > 1
    assert "".join(event["delta"] for event in deltas) == done["text"] != ""


def test_deltas_of_a_commit(unspaced: Both, sound: NDArray[np.float32]) -> None:
    with opened(unspaced) as session:
        update(session, {"turn_detection": None})
        append_sound(session, pcm(sound), 480_000)
        send(session, "input_audio_buffer.commit")
        *events, completed = until(session, "conversation.item.input_audio_transcription.completed")
    deltas = [str(event["delta"]) for event in events if str(event["type"]).endswith(".delta")]
    assert len(deltas) > 1
    assert "".join(deltas) == completed["transcript"] != ""


def test_chunks_of_wyoming(unspaced: Both, sound: NDArray[np.float32]) -> None:
    async def talk() -> tuple[list[str], str]:
        async with AsyncTcpClient("127.0.0.1", unspaced.wyoming.port) as client:
            await client.write_event(AudioStart(16000, 2, 1).event())
            data = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
            for at in range(0, len(data), 32000):
                await client.write_event(AudioChunk(16000, 2, 1, data[at : at + 32000]).event())
            await client.write_event(AudioStop().event())
            return await answer_of(client)

    texts, whole = asyncio.run(talk())
    assert len(texts) > 1
    assert "".join(texts) == whole != ""
    assert " " not in whole
