"""What every command prints with: escapes, progress, tables, and other libraries' lines kept out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from wav2edge.cli import _foreign, _progress, _terminal, main
from wav2edge.runtime.bundle.read import Bundle

EVIL = "one\x1b]0;title\x07 \x9b31m two\x7f"


def harmless(text: str) -> bool:
    return not any(
        (ord(character) < 32 and character not in "\n\t") or 127 <= ord(character) < 160 for character in text
    )


def test_control_characters_never_reach_standard_output_or_error(
    tmp_path: Path, shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest's text set the terminal's title; a file's name moved the cursor."""
    pytest.importorskip("jiwer", reason="the scores need the extra [eval]")
    soundfile.write(tmp_path / "a.wav", [0.0] * 16000, 16000)
    rows = [{"path": "a.wav", "text": EVIL, "corpus": EVIL}, {"path": f"gone{EVIL}\nwav2edge: forged.wav", "text": "x"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", str(tmp_path / "m.jsonl"), "-m", str(shapes_bundle.path), "--engine", "null"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert harmless(out) and harmless(err)
    assert "\\x1b]0;title\\x07" in out
    assert not [line for line in err.splitlines() if line.startswith("wav2edge: forged")]
    assert main([*words, "--json"]) == 2
    out, _ = capsys.readouterr()
    assert harmless(out)
    assert [clip["reference"] for clip in json.loads(out)["clips"]] == [EVIL], "JSON has escapes of its own"


def test_a_names_line_feed_is_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "a\nwav2edge: forged\x1b[2J"]) == 2
    assert len((err := capsys.readouterr().err).splitlines()) == 1 and harmless(err)


def test_json_to_a_pipe_or_a_device_is_written_into_it(shapes_bundle: Bundle) -> None:
    command = [sys.executable, "-m", "wav2edge", "inspect", str(shapes_bundle.path), "--json=/dev/stderr"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["provenance"] == {"checkpoint": "none"}


def test_progress_in_a_pipe_is_a_line_now_and_then_even_in_one_long_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_progress, "_EVERY_LINE", 0.05)
    with _progress.Progress() as progress:
        progress.update("judging fp16", 3, 12)
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert set(lines) == {"wav2edge: judging fp16   25%  3 of 12"}


def test_a_short_job_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.Progress() as progress:
        progress.update("clips", 1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("done", "total", "unit", "shown"),
    [
        (3, 12, "items", "25%  3 of 12"),
        (60, 1200, "seconds", "5%  1:00 of 20:00"),
        (3661, None, "seconds", "1:01:01"),
        (0.5, 1, "share", "50%"),
        (0, None, "items", "…"),
    ],
)
def test_amounts_are_shown_in_their_unit(done: float, total: float | None, unit: _progress.Unit, shown: str) -> None:
    assert _progress._line("x", done, total, unit, 1.0, bar=False).endswith(shown)


def test_the_time_left_is_guessed_once_something_is_done() -> None:
    assert "left" not in _progress._line("x", 1, 100, "items", 10.0)
    assert "about 30 s left" in _progress._line("x", 25, 100, "items", 10.0)
    assert "about 5 min left" in _progress._line("x", 25, 100, "items", 100.0)


def test_foreign_lines_are_dropped_and_pythons_own_are_not() -> None:
    script = (
        "import os, sys\n"
        "from wav2edge.cli import _foreign\n"
        "with _foreign.without_lines(_foreign.EVERYTHING):\n"
        "    os.write(2, b'ALSA lib pcm.c: underrun\\n')\n"
        "    print('ours', file=sys.stderr)\n"
        "os.write(2, b'after\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "ours\nafter\n"
    closed = subprocess.run(["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, script], capture_output=True, check=False)
    assert closed.stdout == b""


def test_an_error_inside_is_raised_and_standard_error_is_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), _foreign.without_lines(_foreign.MP3_DECODER):
        os.write(2, b"Note: dropped\nkept\n")
        raise ValueError
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "kept\nlater\n"


def test_a_closed_standard_error_is_no_error(shapes_bundle: Bundle) -> None:
    command = f'"{sys.executable}" -m wav2edge inspect nowhere 2>&-'
    assert subprocess.run(command, shell=True, check=False).returncode == 2


def test_only_the_kit_prints() -> None:
    """What bypasses it is not escaped, and draws into a progress line."""
    folder = Path(_terminal.__file__).parent
    found = [
        path.name for path in sorted(folder.glob("*.py")) if "print(" in path.read_text("utf-8").replace("_print(", "")
    ]
    assert [name for name in found if name not in ("_terminal.py", "_live_display.py")] == []
