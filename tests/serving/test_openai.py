"""OpenAI's own Python client against the server: recordings in every format, streaming, models, errors, realtime."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.request import Request, urlopen

import numpy as np
import openai
import pytest
import soundfile
import soxr
import srt
import webvtt
from openai.types.audio import TranscriptionVerbose
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime.realtime_audio_formats_param import AudioPCMA, AudioPCMU
from tests.serving.conftest import Running
from tests.serving.test_guard import FORM, asked, form

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.runtime.text.transcript import Transcript
from wav2edge.serving.transcriptions import _doubts


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def expected(recordings: list[Path]) -> Transcript:
    with wav2edge.Transcriber() as transcribe:
        return transcribe(recordings[0])


def test_every_response_format_has_the_words_of_transcribe(
    client: openai.OpenAI, recordings: list[Path], expected: Transcript
) -> None:
    create = client.audio.transcriptions.create
    with recordings[0].open("rb") as file:
        assert create(model="wav2edge-demo", file=file).text == expected.text != ""
    assert str(create(model="wav2edge-demo", file=recordings[0], response_format="text")).strip() == expected.text
    cues = list(srt.parse(str(create(model="wav2edge-demo", file=recordings[0], response_format="srt"))))
    assert " ".join(cue.content for cue in cues).split() == expected.text.split()
    found = webvtt.from_string(str(create(model="wav2edge-demo", file=recordings[0], response_format="vtt")))
    assert " ".join(cue.text for cue in found.captions).split() == expected.text.split()
    verbose = create(
        model="wav2edge-demo",
        file=recordings[0],
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )
    assert isinstance(verbose, TranscriptionVerbose)
    assert verbose.duration == pytest.approx(expected.seconds, abs=0.001)
    assert [(w.word, w.start, w.end) for w in verbose.words or []] == [(w.text, w.start, w.end) for w in expected.words]
    assert [segment.text for segment in verbose.segments or []] == [segment.text for segment in expected.segments]


def test_a_stream_brings_the_same_text_in_deltas(
    client: openai.OpenAI, recordings: list[Path], expected: Transcript
) -> None:
    events = list(
        client.audio.transcriptions.create(
            model="wav2edge-demo", file=recordings[0], stream=True, include=["logprobs"], response_format="json"
        )
    )
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == expected.text
    done = events[-1]
    assert done.type == "transcript.text.done" and done.text == expected.text
    assert [each.token for each in done.logprobs or []] == [word.text for word in expected.words]


def test_keywords_are_hotwords(client: openai.OpenAI, recordings: list[Path]) -> None:
    pytest.importorskip("ctc_beam_decoder", reason="hotwords need the extra [lm]")
    from wav2edge.runtime.text.language_model import BeamDecoder

    with wav2edge.Transcriber() as transcribe:
        favoured = BeamDecoder(transcribe.spec, None, hotwords=("oat milk", "zebra"))
        wanted = wav2edge.Transcriber(transcribe.model, decoder=favoured)(recordings[0]).text
    found = client.audio.transcriptions.create(
        model="wav2edge-demo", file=recordings[0], extra_body={"keywords": ["oat milk", "zebra"]}
    )
    assert found.text == wanted


def test_the_models_are_listed_with_what_they_are(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert model.id == "wav2edge-demo" and model.owned_by == "wav2edge"
    assert client.models.retrieve("wav2edge-demo").id == model.id
    assert model.model_extra and model.model_extra["wer"]


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"model": "whisper-1"}, 404, "no model 'whisper-1'; this server has wav2edge-demo"),
        ({"response_format": "diarized_json"}, 400, "choose from json, text, srt, verbose_json, vtt"),
        ({"timestamp_granularities": ["word"]}, 400, "need response_format verbose_json"),
        ({"response_format": "srt", "stream": True}, 400, "not with srt"),
        ({"response_format": "verbose_json", "stream": True}, 400, "not with verbose_json"),
        ({"timestamp_granularities": ["word"], "stream": True}, 400, "need response_format verbose_json"),
        ({"include": ["words"]}, 400, "include 'words' is not offered; choose from logprobs"),
        ({"include": ["logprobs"], "response_format": "vtt"}, 400, "not with vtt"),
        ({"include": ["logprobs"], "response_format": "verbose_json"}, 400, "not with verbose_json"),
        ({"chunking_strategy": "foo"}, 400, "chunking_strategy 'foo' is not offered; choose from auto, server_vad"),
        ({"chunking_strategy": {"type": "semantic"}}, 400, "chunking_strategy 'semantic' is not offered"),
        ({"file": ("a.wav", b"")}, 400, "a.wav: the file is empty"),
        ({"file": ("talk.wav", b"RIFF no sound at all")}, 400, "talk.wav"),
        ({"extra_body": {"keywords": ["a"] * 101}}, 400, "101 keywords"),
        ({"extra_body": {"keywords": ["latte", "a" * 101]}}, 400, "101 characters; at most 100 are taken"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_cannot_be_done_is_refused_in_one_line(
    client: openai.OpenAI, recordings: list[Path], fields: dict[str, object], status: int, sentence: str
) -> None:
    asked = {"model": "wav2edge-demo", "file": recordings[0], **fields}
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(**asked)  # type: ignore[call-overload]
    assert caught.value.status_code == status
    message = str(caught.value.body["message"] if isinstance(caught.value.body, dict) else "")
    assert sentence in message and "\n" not in message and "/tmp" not in message


@pytest.mark.parametrize("strategy", ["auto", "server_vad", {"type": "server_vad", "threshold": 0.5}])
def test_openais_chunking_strategies_are_accepted(
    client: openai.OpenAI, recordings: list[Path], expected: Transcript, strategy: Literal["auto"]
) -> None:
    create = client.audio.transcriptions.create
    assert create(model="wav2edge-demo", file=recordings[0], chunking_strategy=strategy).text == expected.text


def test_a_recording_that_was_cut_short_is_said_in_every_format(
    server: Running, recordings: list[Path], tmp_path: Path
) -> None:
    """Half of a file was answered as if it were all of it, but for ``verbose_json``."""
    soundfile.write(tmp_path / "a.wav", read.load(recordings[0], 16000), 16000, subtype="PCM_16")
    data = (tmp_path / "a.wav").read_bytes()

    def answer(data: bytes, **fields: str) -> tuple[dict[str, str], str]:
        url, body = f"{server.url}/v1/audio/transcriptions", form("é.wav", data, **fields)
        with urlopen(Request(url, body, {"Content-Type": FORM}), timeout=30) as response:
            return {name.lower(): value for name, value in response.headers.items()}, response.read().decode()

    def values(data: bytes, **fields: str) -> dict[str, object]:
        made: dict[str, object] = json.loads(answer(data, **fields)[1].strip().rpartition("data: ")[2])
        return made

    half, whole = data[: len(data) // 2], {"complete": True, "warnings": []}
    for fields in ({}, {"response_format": "verbose_json"}, {"stream": "true"}):
        found = values(half, **fields)
        assert found["complete"] is False and found["warnings"] and found["text"]
        found = values(data, **fields)
        assert {name: found[name] for name in whole} == whole
    for kind in ("text", "srt", "vtt"):
        headers = answer(half, response_format=kind)[0]
        assert headers["x-wav2edge-complete"] == "false"
        assert headers["x-wav2edge-warnings"].isascii() and headers["x-wav2edge-warnings"]
        assert not [name for name in answer(data, response_format=kind)[0] if name.startswith("x-wav2edge")]


def test_warnings_in_a_header_are_one_line_of_ascii() -> None:
    made = _doubts(Transcript("", 1.0, warnings=("é.wav: half\r\nX-Evil: 1", "b" * 3000)))
    line = made["X-Wav2edge-Warnings"]
    assert line.startswith("?.wav: half X-Evil: 1; bbb") and len(line) == 2000 and "X-Wav2edge-Complete" not in made


def test_the_case_of_a_forms_type_does_not_matter(server: Running, recordings: list[Path]) -> None:
    """``Multipart/Form-Data`` was refused with 415."""
    body = form("a.opus", recordings[0].read_bytes())
    url, kind = f"{server.url}/v1/audio/transcriptions", "Multipart/Form-Data; boundary=xx"
    assert asked(url, body, Content_Type=kind)[0] == 200


def test_another_language_than_the_models_is_refused(
    server: Running, client: openai.OpenAI, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = server.server.catalogue.models[0].model
    monkeypatch.setattr(model, "spec", dataclasses.replace(model.spec, language="en-GB"))
    create = client.audio.transcriptions.create
    assert create(model="wav2edge-demo", file=recordings[0], language="en").text
    with pytest.raises(openai.BadRequestError, match="wav2edge-demo transcribes en-GB, not 'de'"):
        create(model="wav2edge-demo", file=recordings[0], language="de")


def test_realtime_deltas_are_append_only_and_end_in_the_text_of_listen(
    client: openai.OpenAI, recordings: list[Path]
) -> None:
    """The sound goes in at 24 kHz; the finals are those that live captions have with the same turn detection."""
    samples = np.concatenate([read.load(recordings[0], 16000), np.zeros(32000, np.float32)])
    pcm = (np.clip(soxr.resample(samples, 16000, 24000), -1, 1) * 32767).astype("<i2").tobytes()
    with client.realtime.connect(model="wav2edge-demo", extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "wav2edge-demo"},
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 900},
                    }
                },
            }
        )
        assert connection.recv().type == "session.updated"
        for at in range(0, len(pcm), 4800):
            connection.input_audio_buffer.append(audio=base64.b64encode(pcm[at : at + 4800]).decode())
        events = _until_completed(connection)
    kinds = [event.type for event in events]
    assert kinds[0] == "input_audio_buffer.speech_started"
    assert "input_audio_buffer.speech_stopped" in kinds and "input_audio_buffer.committed" in kinds
    deltas = "".join(e.delta or "" for e in events if e.type == "conversation.item.input_audio_transcription.delta")
    last = events[-1]
    assert last.type == "conversation.item.input_audio_transcription.completed"
    assert last.transcript and deltas == last.transcript[: len(deltas)]


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephony_codecs_and_the_clients_own_commits(
    client: openai.OpenAI, recordings: list[Path], tmp_path: Path, kind: str
) -> None:
    subtype = "ULAW" if kind == "audio/pcmu" else "ALAW"
    samples = soxr.resample(read.load(recordings[0], 16000), 16000, 8000)
    soundfile.write(tmp_path / "call.raw", samples, 8000, subtype=subtype, format="RAW")
    soundfile.write(tmp_path / "call.wav", samples, 8000, subtype=subtype)
    with wav2edge.Transcriber() as transcribe:
        wanted = transcribe(tmp_path / "call.wav").text
    with client.realtime.connect(model="wav2edge-demo") as connection:
        connection.recv()
        codec: AudioPCMU | AudioPCMA = {"type": "audio/pcmu"} if kind == "audio/pcmu" else {"type": "audio/pcma"}
        connection.session.update(
            session={"type": "transcription", "audio": {"input": {"format": codec, "turn_detection": None}}}
        )
        assert connection.recv().type == "session.updated"
        data = (tmp_path / "call.raw").read_bytes()
        connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())
        connection.input_audio_buffer.commit()
        last = _until_completed(connection)[-1]
    assert last.type == "conversation.item.input_audio_transcription.completed"
    assert last.transcript == wanted


def test_appends_may_cut_samples_in_half_and_a_cleared_buffer_leaves_nothing(
    client: openai.OpenAI, recordings: list[Path], tmp_path: Path
) -> None:
    """One append of odd length turned everything after it into noise."""
    samples = soxr.resample(read.load(recordings[0], 16000), 16000, 24000)
    soundfile.write(tmp_path / "talk.wav", samples, 24000, subtype="PCM_16")
    soundfile.write(tmp_path / "talk.raw", samples, 24000, subtype="PCM_16", format="RAW")
    with wav2edge.Transcriber() as transcribe:
        wanted = transcribe(tmp_path / "talk.wav").text
    data = (tmp_path / "talk.raw").read_bytes()
    with client.realtime.connect(model="wav2edge-demo") as connection:
        connection.recv()
        connection.session.update(session={"type": "transcription", "audio": {"input": {"turn_detection": None}}})
        assert connection.recv().type == "session.updated"
        connection.input_audio_buffer.append(audio=base64.b64encode(data[:4801]).decode())
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"
        for at in range(0, len(data), 48_001):
            connection.input_audio_buffer.append(audio=base64.b64encode(data[at : at + 48_001]).decode())
        connection.input_audio_buffer.commit()
        last = _until_completed(connection)[-1]
    assert last.type == "conversation.item.input_audio_transcription.completed"
    assert last.transcript == wanted


def test_a_wrong_realtime_message_is_said_and_the_session_goes_on(client: openai.OpenAI) -> None:
    with client.realtime.connect(model="wav2edge-demo") as connection:
        connection.recv()
        connection.input_audio_buffer.commit()
        event = connection.recv()
        assert event.type == "error" and event.error.code == "input_audio_buffer_commit_empty"
        connection.send({"type": "response.create"})
        event = connection.recv()
        assert event.type == "error" and "response.create" in event.error.message
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"


def _until_completed(connection: object) -> list[RealtimeServerEvent]:
    found = []
    for event in connection:  # type: ignore[attr-defined]
        found.append(event)
        assert event.type != "error", event
        if event.type == "conversation.item.input_audio_transcription.completed":
            break
    return found
