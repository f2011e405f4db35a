"""``wav2edge demo``: every step is the command that it shows, and the first that fails ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wav2edge import cli
from wav2edge.cli import demo, main
from wav2edge.runtime.bundle import embedded


def test_the_demo_runs_every_step_on_the_embedded_bundle(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def stand_in(words: list[str]) -> int:
        ran.append(words)
        return 0

    monkeypatch.setattr(cli, "main", stand_in)
    monkeypatch.setattr(demo, "_project_checkpoint", lambda: None)
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    bundle = str(embedded.bundle_path())
    assert [words[0] for words in ran] == ["inspect", "selftest", "bench", "listen"]
    assert all(bundle in words for words in ran)
    assert "no checkpoint here" in out and "What it recognises" in out
    for shown in demo.SHOWN:
        assert shown in out
    for words in ran:
        assert f"$ wav2edge {' '.join(words)}" in out
    assert out.count("spoken") == out.count("recognised ") == len(demo.SHOWN)


def test_a_step_that_fails_ends_the_demo_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def stand_in(words: list[str]) -> int:
        ran.append(words[0])
        return 3 if words[0] == "selftest" else 0

    monkeypatch.setattr(cli, "main", stand_in)
    monkeypatch.setattr(demo, "_project_checkpoint", lambda: None)
    assert main(["demo"]) == 3
    assert ran == ["inspect", "selftest"]


def test_the_export_is_shown_where_it_can_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def stand_in(words: list[str]) -> int:
        ran.append(words)
        return 1

    monkeypatch.setattr(cli, "main", stand_in)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else object())
    assert demo._export(tmp_path, tmp_path / "b") == 0 and ran == []
    assert "no onnx here" in capsys.readouterr().out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert demo._export(tmp_path, tmp_path / "b") == 1
    assert ran == [["export", str(tmp_path), str(tmp_path / "b")]]


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--checkpoint", str(tmp_path / "none"), "--output", str(tmp_path / "b")]) == 2
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "passed" in out and "p50" in out and "recognised" in out
