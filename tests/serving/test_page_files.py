"""The page's files in a real Chromium: laid out as the server's own, and of several recordings.

Run by ``scripts/test --page``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Running

from wav2edge.runtime.text.formats.json import document
from wav2edge.runtime.text.transcript import Segment, Transcript, Word

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="scripts/test --page installs what this needs")
pytestmark = pytest.mark.page


@pytest.fixture(scope="module")
def page(server: Running) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        made = browser.new_page()
        made.goto(server.url)
        yield made
        browser.close()


def transcript_of(texts: Sequence[Sequence[str]], seconds: float) -> Transcript:
    """Segments whose words take 0.3 s, with a second between segments."""
    segments, at = [], 0.25
    for words in texts:
        made = tuple(Word(text, at + i * 0.3, at + i * 0.3 + 0.25, 0.9) for i, text in enumerate(words))
        segments.append(Segment(" ".join(words), made[0].start, made[-1].end, made))
        at = made[-1].end + 1
    spoken = tuple(word for segment in segments for word in segment.words)
    return Transcript(" ".join(segment.text for segment in segments), seconds, spoken, tuple(segments))


def written(page: sync_api.Page, form: str, recordings: Sequence[tuple[str, Transcript | None, bool]]) -> str:
    """What the page writes for recordings: name, transcript (None: it failed), whether the server wrote files."""
    given = [(name, made and document(made, name), served and made and {"srt": made.to_srt(), "vtt": made.to_vtt()})
             for name, made, served in recordings]  # fmt: skip
    return str(page.evaluate("""async ([form, given]) => {
        const { Transcript } = await import("/page/transcript.js");
        const transcript = new Transcript(document.createElement("div"), document.createElement("audio"));
        for (const [name, made, formats] of given) {
          const recording = transcript.begin(name, 16000);
          for (const segment of made ? made.segments : []) {
            recording.add({ ...segment, words: segment.words.map((word) => ({ ...word, text: word.word })) });
          }
          if (made) recording.done({ transcript: made, formats: formats || null });
          recording.close();
        }
        return transcript.as(form);
    }""", [form, given]))  # fmt: skip


AWKWARD = transcript_of(
    [[f"word{i}" for i in range(60)], ["<b>", "a&b", "1 -->", "new\nline", "\u202eback"], ["x" * 50, "end"]], 30.0
)


def test_subtitles_are_laid_out_as_the_servers_own(page: sync_api.Page) -> None:
    """An utterance of 60 words was one line of one cue."""
    assert written(page, "srt", [("Microphone", AWKWARD, False)]) == AWKWARD.to_srt()
    assert written(page, "vtt", [("Microphone", AWKWARD, False)]) == AWKWARD.to_vtt()
    assert max(map(len, AWKWARD.to_srt().split("\n"))) < 60


def test_times_of_several_recordings_do_not_run_backwards(page: sync_api.Page) -> None:
    first, second = transcript_of([["first", "file"]], 10.0), transcript_of([["second"]], 4.0)
    text = written(page, "srt", [("a.wav", first, True), ("bad.wav", None, False), ("b.wav", second, True)])
    assert text == (
        "1\n00:00:00,250 --> 00:00:01,250\nfirst file\n\n2\n00:00:10,250 --> 00:00:11,250\nsecond\n"
    )  # fmt: skip


def test_a_failed_recording_does_not_replace_the_servers_file(page: sync_api.Page) -> None:
    made = transcript_of([["only", "one"]], 10.0)
    assert written(page, "srt", [("a.wav", made, True), ("bad.wav", None, False)]) == made.to_srt()
    found = json.loads(written(page, "json", [("bad.wav", None, False), ("a.wav", made, True)]))
    assert found["text"] == "only one" and found["duration"] == 10.0
