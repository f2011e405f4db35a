"""A corpus and a server on a Ray cluster of two nodes on this machine, with workers and a node that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.serving.conftest import blocks_of
from websockets.sync.client import connect

import wav2edge
from wav2edge.cli import main
from wav2edge.runtime.audio.read import Recording, RecordingPart
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.serving import corpus, ray_corpus
from wav2edge.serving.corpus import CorpusItem, CorpusOutcome
from wav2edge.serving.ray_corpus import CorpusJob, RayOptions
from wav2edge.serving.ray_serve import ServeArguments, application

pytestmark = pytest.mark.ray
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="needs the extra [ray]: scripts/test --ray")
from ray.cluster_utils import Cluster  # noqa: E402

_NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two nodes of one CPU each; the first has the driver."""
    made = Cluster(initialize_head=True, head_node_args=_NODE)
    made.add_node(**_NODE)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def manifest(clips: list[tuple[Path, str]], tmp_path: Path) -> Path:
    """Sixty recordings, one broken and one missing."""
    short = [path for path, _ in clips if path.stat().st_size < 60_000][:4]
    names = []
    for number in range(60):
        source = short[number % len(short)]
        names.append(f"{number:02}{source.suffix}")
        shutil.copy(source, tmp_path / names[-1])
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"path": name}) + "\n" for name in [*names[:30], "broken.wav", *names[30:], "missing.wav"])
    )
    return path


def outputs(folder: Path) -> dict[str, str]:
    """All outputs, by their names."""
    return {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}


def one_machine(manifest: Path) -> dict[str, str]:
    """What one machine makes of the corpus."""
    folder = manifest.parent / "alone"
    assert main(["transcribe", "--manifest", str(manifest), "--threads", "1", "-f", "json", "-o", str(folder)]) == 2
    return outputs(folder)


def opened() -> wav2edge.Transcriber:
    return wav2edge.Transcriber(wav2edge.open(threads=1))


def running(folder: Path) -> list[int]:
    """The processes of workers that have written to a list."""
    found = [int(path.stem.rsplit("-", 1)[1]) for path in (folder / corpus.RESULTS).glob("ray-*.jsonl")]
    return [process for process in found if Path(f"/proc/{process}").exists()]


def test_a_worker_and_a_node_are_lost_and_the_output_is_that_of_one_machine(cluster: Cluster, manifest: Path) -> None:
    expected = one_machine(manifest)
    extra = cluster.add_node(**_NODE)
    folder = manifest.parent / "out"
    everything = corpus.items(manifest, folder, ".json")
    folder.mkdir()
    job = CorpusJob(opened, os.getcwd(), folder, "json", 1)
    found: list[CorpusOutcome] = []
    for outcome in ray_corpus.run(job, everything, RayOptions(block=4)):
        found.append(outcome)
        if len(found) == 8:
            os.kill(running(folder)[0], signal.SIGKILL)
        if len(found) == 24:
            cluster.remove_node(extra, allow_graceful=False)
    assert outputs(folder) == expected and len(expected) == 60
    assert sorted(outcome["path"] for outcome in found) == sorted(item.name for item in everything), "lost or twice"
    failed = {outcome["path"]: outcome["message"] for outcome in found if outcome["status"] == "failed"}
    assert set(failed) == {"broken.wav", "missing.wav"} and "no such file" in failed["missing.wav"]
    listed = [json.loads(line) for line in corpus.write_manifest(folder, everything).read_text().splitlines()]
    assert [each["path"] for each in listed] == [item.name for item in everything]
    assert not list((folder / corpus.RESULTS / "begun").glob("*"))


def test_the_command_goes_on_where_it_was_stopped(
    cluster: Cluster, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transcribe", "--manifest", str(manifest), "--on", "ray", "-f", "json", "-o", str(manifest.parent / "out")]
    assert main(words) == 2
    folder = manifest.parent / "out"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert len(before) == 60 and len((folder / "results.jsonl").read_text().splitlines()) == 62
    gone = sorted(before)[0]
    gone.unlink()
    capsys.readouterr()
    assert main(words) == 2, "broken and missing are tried again"
    assert "62 recordings in shard 1-of-1, 59 of them done before" in capsys.readouterr().err
    assert [path for path in before if path.stat().st_mtime_ns != before[path]] == [gone]
    assert outputs(folder) == one_machine(manifest)


class Poisoned(wav2edge.Transcriber):
    """A transcriber whose process ends where it opens one recording, as a decoder's crash ends it."""

    def open_recording(self, source: object, *words: object, **options: object) -> Recording:
        if Path(str(source)).stem == "07":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open_recording(source, *words, **options)  # type: ignore[arg-type]


def test_a_recording_that_ends_its_worker_is_listed_and_costs_no_other(cluster: Cluster, manifest: Path) -> None:
    folder = manifest.parent / "out"
    folder.mkdir()
    chosen = corpus.items(manifest, folder, ".json")[:16]

    def poisoned() -> wav2edge.Transcriber:
        return Poisoned(wav2edge.open(threads=1))

    found = list(ray_corpus.run(CorpusJob(poisoned, os.getcwd(), folder, "json", 1), chosen, RayOptions(block=8)))
    failed = [outcome for outcome in found if outcome["status"] == "failed"]
    assert [outcome["path"][:2] for outcome in failed] == ["07"] and "was lost 3 times" in failed[0]["message"]
    assert len(found) == 16 and len(outputs(folder)) == 15


def test_a_model_that_no_worker_can_open_ends_the_run_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    def missing() -> wav2edge.Transcriber:
        raise EngineError("the engine is missing on this node; install it")

    chosen = [CorpusItem("a.wav", RecordingPart(tmp_path / "a.wav"), tmp_path / "a.json")]
    with pytest.raises(EngineError, match="the engine is missing on this node; install it"):
        list(ray_corpus.run(CorpusJob(missing, os.getcwd(), tmp_path, "json", 1), chosen))


def test_a_server_on_two_nodes_answers_as_one(
    cluster: Cluster, recordings: list[Path], listened: dict[Path, str], free_port: int
) -> None:
    from ray import serve

    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": free_port, "location": "HeadOnly"})
    headers = {"Authorization": "Bearer secret"}
    try:
        serve.run(application({"token": "secret", "replicas": "2", "batch_seconds": "60"}), name="speech")
        url = f"http://127.0.0.1:{free_port}"
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{url}/v1/models")
        assert refused.value.code == 401
        with wav2edge.Transcriber() as transcribe:
            expected = {path: transcribe(path).text for path in recordings}
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda path: (path, upload(url, path, headers)), recordings * 4))
        assert all(text == expected[path] for path, text in found)
        with connect(f"{url.replace('http', 'ws')}/v1/listen?encoding=f32le", additional_headers=headers) as ws:
            for block in blocks_of(recordings[1]):
                ws.send(block.astype("<f4").tobytes())
            ws.send('{"type": "finish"}')
            events = [json.loads(line) for line in ws]
        assert " ".join(each["text"] for each in events if each["event"] == "final") == listened[recordings[1]]
        assert events[-1] == {"event": "end"}
    finally:
        serve.shutdown()


def upload(url: str, path: Path, headers: dict[str, str]) -> str:
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode()
    named = {**headers, "Content-Type": "multipart/form-data; boundary=x"}
    body = head + path.read_bytes() + b"\r\n--x--\r\n"
    with urlopen(Request(f"{url}/v1/audio/transcriptions", body, named), timeout=120) as answer:
        return str(json.load(answer)["text"])


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_arguments_of_the_application_that_cannot_be_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAV2EDGE_TOKEN", raising=False)
    for values, message in (
        ({}, "token is missing"),
        ({"modles": "x"}, "modles: choose from token, models"),
        ({"token": "x", "gpus": "one"}, "are numbers"),
    ):
        with pytest.raises(InputError, match=message):
            ServeArguments.parsed(values)
    assert ServeArguments.parsed({"token": "x", "replicas": "2"}).replicas == 2
