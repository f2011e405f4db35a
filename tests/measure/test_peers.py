"""What benchmarks/peers.py and growth.py are made of: peers as processes, ratios within a turn, tables, limits."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PROGRAM = """
import sys

from _peers.line import main, nothing_to_prepare

def load(target, variant, threads):
    if variant == "missing":
        raise FileNotFoundError("no such file\\nsecond line")
    def recognize(clip):
        print("a library speaks")
        if len(clip) == 0:
            raise ValueError("no samples")
        if len(clip) == 1:
            sys.stderr.write("it broke\\n")
            sys.exit(3)
        return f"{len(clip)} {variant} {threads}"
    return recognize

main(nothing_to_prepare, load)
"""


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The folder of the peers as a package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import _peers.line
    import _peers.process
    import _peers.rows
    import _peers.table

    yield _peers


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.f32"
    np.zeros(160, np.float32).tofile(path)
    return path


def program(peers: ModuleType, tmp_path: Path) -> SimpleNamespace:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    made = peers.process.Program([sys.executable, str(path)], peers.process.environment())
    return SimpleNamespace(program=made, target=tmp_path, log=tmp_path / "log")


def test_a_peer_answers_with_time_text_and_memory(peers: ModuleType, tmp_path: Path, clip: Path) -> None:
    given = program(peers, tmp_path)
    peer = peers.process.Peer(given.program, given.target, "int8", 2, given.log)
    seconds, text = peer.run(clip)
    above, peak = peer.memory()
    peer.close()
    assert text == "160 int8 2", "what a library prints must not be read as an answer"
    assert 0 < seconds < 10 and 0 <= above < peak


def test_a_peer_that_fails_gives_the_first_line_of_its_error(peers: ModuleType, tmp_path: Path, clip: Path) -> None:
    given = program(peers, tmp_path)
    with pytest.raises(peers.process.Failed, match=r"^FileNotFoundError: no such file$"):
        peers.process.Peer(given.program, given.target, "missing", 1, given.log)
    for count, reason in (0, "ValueError: no samples"), (1, "it broke"):
        np.zeros(count, np.float32).tofile(clip)
        peer = peers.process.Peer(given.program, given.target, "int8", 1, given.log)
        with pytest.raises(peers.process.Failed, match=f"^{reason}$"):
            peer.run(clip)
        peer.close()


def test_a_conversion_is_there_whole_or_not_at_all(peers: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "converter.py"
    path.write_text(
        "from _peers.line import main\n"
        "def prepare(checkpoint, target, variant, clips):\n"
        "    (target / 'made').write_text(f'{variant} {len(clips)}')\n"
        "    if variant == 'bad': raise ValueError('no')\n"
        "main(prepare, None)\n"
    )
    (tmp_path / "clips").mkdir()
    np.zeros(16, np.float32).tofile(tmp_path / "clips" / "0.f32")
    made = peers.process.Program([sys.executable, str(path)], peers.process.environment())
    with pytest.raises(peers.process.Failed, match="ValueError: no"):
        made.prepare(tmp_path, tmp_path / "target", "bad", tmp_path / "clips")
    assert not (tmp_path / "target").exists()
    made.prepare(tmp_path, tmp_path / "target", "good", tmp_path / "clips")
    assert (tmp_path / "target" / "made").read_text() == "good 1"


def test_a_ratio_is_taken_within_a_turn(peers: ModuleType) -> None:
    ours, theirs = peers.rows.Result(peers.rows.OURS), peers.rows.Result(peers.rows.ROWS[3])
    ours.times = {10.0: {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 100.0}}
    theirs.times = {10.0: {(0, 0): 2.0, (0, 1): 6.0, (0, 2): 50.0}}
    assert ours.share(theirs, 10.0) == 0.5
    assert ours.share(theirs, 1.0) is None


def test_the_table_says_why_a_row_is_missing_and_whether_a_bar_is_met(peers: ModuleType) -> None:
    rows = peers.rows
    others = [row for row in rows.ROWS if row.source == "checkpoint"][:2]
    results = [rows.Result(row) for row in (rows.OURS, rows.OUR_INT8, rows.OUR_FP32, *others)]
    for result, seconds in zip(results, (0.07, 0.5, 1.0, 0.1)):
        result.times = {10.0: {(0, 0): seconds}}
        result.texts = ["One two.", "three"]
    results[3].texts = ["one two", "four"]
    results[4].reason = "ImportError: a | b"
    results[3].mixed = 12.34
    lines = peers.table.table(results, (10.0,), ["one two", "three"], ["one two", "three"])
    assert len({line.replace(" | ", "|").count("|") for line in lines}) == 1, "as many cells in every line"
    assert "70 (70)" in lines[2] and "0 of 2" in lines[2] and "0.0" in lines[2]
    assert "0.70" in lines[5] and "1 of 2" in lines[5] and "33.3" in lines[5]
    assert "| 12.3 |" in lines[5] and "12.3" not in lines[2]
    assert lines[6].endswith("ImportError: a   b |")
    peer, products, int8 = peers.table.bars(results, (10.0,), {(0, 0): 0.05}, None)
    assert "0.70" in peer and peer.endswith("met") and "0.50" in int8 and int8.endswith("missed")
    assert "50 ms" in products and "1.40" in products and products.endswith("missed")


def test_peers_that_lose_words_are_told_apart(peers: ModuleType) -> None:
    """The fastest peer made five points more errors than the checkpoint that it was given."""
    ours, loses, keeps = (
        peers.rows.Result(peers.rows.OURS, {10.0: {(0, 0): 0.1}}, texts=["one two"]),
        peers.rows.Result(peers.rows.Row("loses", "a", "", ""), {10.0: {(0, 0): 0.11}}, texts=["one"]),
        peers.rows.Result(peers.rows.Row("keeps", "b", "", ""), {10.0: {(0, 0): 0.4}}, texts=["One, two."]),
    )
    results = [ours, loses, keeps, peers.rows.Result(peers.rows.Row("fails", "c", "", ""))]
    keeping = peers.table.keeping_words(results, ["one two"], ["one two"])
    assert keeping == {ours.row.name, "keeps"}
    fastest, keeper, _ = peers.table.bars(results, (10.0,), {(0, 0): 0.09}, keeping)
    assert "(loses)" in fastest and "0.909" in fastest and fastest.endswith("missed")
    assert "(keeps)" in keeper and "0.25" in keeper and keeper.endswith("met")


def test_products_are_counted(peers: ModuleType, tmp_path: Path) -> None:
    import _limits

    config = {
        "conv_dim": [8], "conv_kernel": [400], "conv_stride": [320], "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": 5,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    frames = (16000 - 400) // 320 + 1
    convolutions = frames * 400 * 8 + frames * 8 * 16 + frames * 4 * 16 * 8
    layers = 2 * (frames * (4 * 16 * 16 + 2 * 16 * 32) + 2 * frames * frames * 16)
    assert _limits.products(tmp_path, 1.0) == 2 * (convolutions + layers + frames * 16 * 5)


def test_the_peak_is_onnx_runtimes_where_pytorchs_product_is_a_plain_loop(
    peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without VNNI PyTorch's took eleven minutes for what ONNX Runtime does in a second."""
    import _limits

    ran = []
    monkeypatch.setattr(_limits, "_pytorch", lambda *_: lambda: ran.append("PyTorch"))
    for vnni in False, True:
        monkeypatch.setattr(_limits, "detect", lambda vnni=vnni: SimpleNamespace(cpu=SimpleNamespace(vnni=vnni)))
        rate = _limits.Peak(1, size=64).rate()
        assert ran == ["PyTorch"] * _limits.IN_A_ROW if vnni else not ran and 1e6 < rate < 1e15


def test_the_peak_is_of_the_faster_product(peers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import _limits

    times = iter([0.0, 0.032, 1.0, 1.016, 2.0, 2.064, 3.0, 3.128])
    monkeypatch.setattr(_limits, "detect", lambda: SimpleNamespace(cpu=SimpleNamespace(vnni=True)))
    for name in ("_onnxruntime", "_pytorch"):
        monkeypatch.setattr(_limits, name, lambda *_: lambda: None)
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    peak = _limits.Peak(1, size=100)
    each = 2e6 * _limits.IN_A_ROW
    assert [peak.rate(), peak.rate()] == pytest.approx([each / 0.016, each / 0.064])


def test_products_are_compared_within_a_turn(peers: ModuleType) -> None:
    """A run at a slow moment is compared with the products of that moment."""
    times = {(0, 0): 0.12, (0, 1): 0.24, (0, 2): 0.11}
    ours = peers.rows.Result(peers.rows.OURS, {10.0: times})
    [line] = peers.table.bars([ours], (10.0,), {(0, 0): 0.1, (0, 1): 0.2, (0, 2): 0.1}, None)
    assert "100 ms" in line and "1.200 (expected: at most 1.25), met" in line
