"""Packed layouts in the tools that they are for: the words of ``wav2edge transcribe``, alone and in batches.

sherpa-onnx and onnx-asr are among the packages of the tests; ``scripts/test --clients`` makes the environments of
transformers.js and optimum and runs the tests that are marked ``clients``. benchmarks/clients.py asks the same of 50
clips. Release 0.12.0 of onnx-asr lacks the type wav2vec2-ctc: tests/clients/run_onnx_asr.py says what is run instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wav2edge.cli import main
from wav2edge.devices.detect import detect
from wav2edge.devices.open import open_model
from wav2edge.export import layouts
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.heads import Classifier
from wav2edge.runtime.recordings.transcriber import Transcriber
from wav2edge.runtime.text.transcript import Word

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "clients"
ENVIRONMENTS = ROOT / ".clients"
RATE = 16000
FRAME = 0.02
"""Seconds."""


class Client(NamedTuple):
    """How a packed folder is run: the layout, the interpreter, the program, and its last argument by variant."""

    layout: str
    command: tuple[str, ...]
    files: dict[str, str]
    needs: str = ""
    more: tuple[str, ...] = ()


def optimum() -> Client:
    python = ENVIRONMENTS / "optimum" / "bin" / "python"
    files = {"fp32": "model.onnx", "int8-u8s8": "model_quantized.onnx"}
    return Client("optimum", (str(python), str(PROGRAMS / "run_optimum.py")), files, str(python))


def transformers_js() -> Client:
    modules = ENVIRONMENTS / "node" / "node_modules"
    node = shutil.which("node") or str(ENVIRONMENTS / "node" / "node")
    command = (node, str(PROGRAMS / "run_transformers_js.mjs"))
    return Client("transformers.js", command, {"fp32": "fp32", "int8-u8s8": "q8"}, str(modules), (str(modules),))


def in_this_environment(layout: str, files: dict[str, str]) -> Client:
    return Client(layout, (sys.executable, str(PROGRAMS / f"run_{layout.replace('-', '_')}.py")), files)


SHERPA = in_this_environment("sherpa-onnx", {"fp32": "model.onnx", "int8-u8s8": "model.int8.onnx"})
ONNX_ASR = in_this_environment("onnx-asr", {"fp32": "", "int8-u8s8": "int8"})


def run(
    client: Client, folder: Path, clips: Sequence[NDArray[np.float32]], variant: str, tmp_path: Path
) -> dict[str, object]:
    """What the client's program writes."""
    if client.needs and not Path(client.needs).exists():
        pytest.skip(f"no {Path(client.needs).relative_to(ROOT)}; `scripts/test --clients` makes it")
    paths = [tmp_path / f"{number}.f32" for number in range(len(clips))]
    for path, clip in zip(paths, clips):
        clip.astype(np.float32).tofile(path)
    listed, out = tmp_path / "clips.json", tmp_path / "out.json"
    listed.write_text(json.dumps([str(path) for path in paths]))
    last = [word for word in (client.files[variant],) if word]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [*client.command, str(folder), str(listed), str(out), *last, *client.more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(out.read_text())
    return found


def word_starts(row: dict[str, object]) -> list[float]:
    """When each word of a client's result starts, in seconds; nothing where it gives no times."""
    if words := row.get("words"):
        assert isinstance(words, list)
        return [start for _, start, _ in words]
    tokens, times = row.get("tokens"), row.get("times")
    if not isinstance(tokens, list) or not isinstance(times, list):
        return []
    spaces = [True] + [token == " " for token in tokens]
    return [time for before, token, time in zip(spaces, tokens, times) if before and token != " "]


def check(found: object, expected: Sequence[tuple[str, tuple[Word, ...]]], times: bool) -> None:
    assert isinstance(found, list) and len(found) == len(expected)
    for row, (text, words) in zip(found, expected):
        assert row["text"].split() == text.split()
        if times:
            np.testing.assert_allclose(word_starts(row), [word.start for word in words], atol=FRAME + 1e-6)


def transcripts(
    bundle: Bundle | None, clips: Sequence[NDArray[np.float32]], variant: str
) -> list[tuple[str, tuple[Word, ...]]]:
    """What wav2edge gives; for INT8 with the whole graph in one run, as the clients have it.

    On CPUs it runs the convolutions in pieces (runtime/tiling.py), and INT8 rounds the last digits of those otherwise.
    """
    model = open_model(bundle, "onnxruntime", variant, threads=1)
    if variant != "fp32":
        model = Model(
            model.bundle, model.engine, model.variant, model.options, sessions={"full": model.session("full")}
        )
    with Transcriber(model) as transcriber:
        found = [transcriber(clip, RATE) for clip in clips]
    return [(transcript.text, transcript.words) for transcript in found]


@pytest.fixture(scope="module")
def speech(clips: list[tuple[Path, str]]) -> list[NDArray[np.float32]]:
    """The clips that ship, and one of two words with a long pause between them."""
    found = [read.load(path, RATE) for path, _ in clips]
    short = [clip for clip in found if len(clip) < 4 * RATE]
    return [*found, np.concatenate([short[0], np.zeros(RATE, np.float32), short[1]])]


def words_are_those_of_wav2edge(
    client: Client, variant: str, speech: list[NDArray[np.float32]], tmp_path: Path, *, times: bool = True
) -> None:
    layouts.pack(embedded.resolve(None), client.layout, tmp_path / "packed", variants=[variant])
    found = run(client, tmp_path / "packed", speech, variant, tmp_path)
    expected = transcripts(None, speech, variant)
    assert any(text for text, _ in expected)
    check(found["alone"], expected, times)
    check(found["batch"], expected, times)


def test_words_in_sherpa_onnx(speech: list[NDArray[np.float32]], tmp_path: Path) -> None:
    """FP32 alone: it normalises clips in its own arithmetic, and INT8 rounds what differs in the last digit."""
    words_are_those_of_wav2edge(SHERPA, "fp32", speech, tmp_path)


UNSATURATED = pytest.mark.skipif(
    detect().cpu.saturates, reason="signed keys and values, which onnx-asr makes unsigned, saturate on this processor"
)


@pytest.mark.parametrize("variant", ["fp32", pytest.param("int8-u8s8", marks=[pytest.mark.slow, UNSATURATED])])
def test_words_in_onnx_asr(variant: str, speech: list[NDArray[np.float32]], tmp_path: Path) -> None:
    words_are_those_of_wav2edge(ONNX_ASR, variant, speech, tmp_path)


@pytest.mark.clients
@pytest.mark.parametrize("variant", ["fp32", "int8-u8s8"])
def test_words_in_transformers_js(variant: str, speech: list[NDArray[np.float32]], tmp_path: Path) -> None:
    """It gives no times of words."""
    words_are_those_of_wav2edge(transformers_js(), variant, speech, tmp_path, times=False)


@pytest.mark.clients
@pytest.mark.parametrize("variant", ["fp32", "int8-u8s8"])
def test_words_in_optimum(variant: str, speech: list[NDArray[np.float32]], tmp_path: Path) -> None:
    words_are_those_of_wav2edge(optimum(), variant, speech, tmp_path)


@pytest.fixture(scope="module")
def group_norm(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model with group norm, whose statistics padding would change."""
    path = tmp_path_factory.mktemp("group") / "bundle"
    assert main(["export", str(ROOT / "tests" / "data" / "group_norm"), str(path)]) == 0
    return Bundle.open(path)


CLIENTS = [
    pytest.param(SHERPA, id="sherpa-onnx", marks=pytest.mark.slow),
    pytest.param(ONNX_ASR, id="onnx-asr", marks=pytest.mark.slow),
    pytest.param(transformers_js(), id="transformers.js", marks=pytest.mark.clients),
    pytest.param(optimum(), id="optimum", marks=pytest.mark.clients),
]


@pytest.mark.parametrize("client", CLIENTS)
def test_words_of_a_model_with_group_norm(
    client: Client, group_norm: Bundle, speech: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    layouts.pack(group_norm, client.layout, tmp_path / "packed")
    clips = [clip[: 5 * RATE] for clip in speech]
    found = run(client, tmp_path / "packed", clips, "fp32", tmp_path)
    expected = transcripts(group_norm, clips, "fp32")
    check(found["alone"], expected, client.layout != "transformers.js")
    check(found["batch"], expected, client.layout != "transformers.js")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small classifier with random weights."""
    import transformers

    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(5)
    config = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=[32] * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, feat_extract_norm="layer",
        do_stable_layer_norm=True, classifier_proj_size=16, id2label={0: "yes", 1: "no", 2: "other"},
    )  # fmt: skip
    model = transformers.Wav2Vec2ForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.normal_(0, 1.0)
    model.save_pretrained(folder / "checkpoint")
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "sampling_rate": RATE}
    (folder / "checkpoint" / "preprocessor_config.json").write_text(json.dumps(settings))
    assert main(["export", str(folder / "checkpoint"), str(folder / "bundle")]) == 0
    return Bundle.open(folder / "bundle")


@pytest.mark.clients
@pytest.mark.parametrize("client", [transformers_js(), optimum()], ids=["transformers.js", "optimum"])
def test_labels_of_a_classifier(
    client: Client, classifier: Bundle, speech: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    layouts.pack(classifier, client.layout, tmp_path / "packed")
    found = run(client, tmp_path / "packed", speech, "fp32", tmp_path)
    with Classifier(open_model(classifier, "onnxruntime", "fp32", threads=1)) as here:
        expected = [here(clip, RATE) for clip in speech]
    for rows in (found["alone"], found["batch"]):
        assert isinstance(rows, list)
        assert [row["text"] for row in rows] == [result.label for result in expected]
        scores = [max(s["score"] if isinstance(s, dict) else s for s in row["scores"]) for row in rows]
        np.testing.assert_allclose(scores, [result.scores[0].score for result in expected], atol=2e-4)
