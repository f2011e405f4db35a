"""The page in a real Chromium, with a fake microphone that plays real speech; run by ``scripts/test --page``.

AXE names axe-core's file, SCREENSHOTS a folder for the pictures (default: the test's own).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.serving.conftest import Running, text_of

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.runtime.live.sources import FileSource

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="scripts/test --page installs what this needs")
pytestmark = pytest.mark.page
WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module")
def spoken(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with silence after it, as the microphone plays it, whose text is the same after resampling.

    Chromium resamples; where the model is unsure of a letter, another may win.
    """
    recording = next(path for path in recordings if path.stem == "coffee-mocha")
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    samples = np.concatenate([np.zeros(8000, np.float32), read.load(recording), np.zeros(3 * 16000, np.float32)])
    soundfile.write(path, samples, 16000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(spoken: Path) -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={spoken}%noloop",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield made
        made.close()


@pytest.fixture
def page(browser: sync_api.Browser, server: Running) -> Iterator[sync_api.Page]:
    problems: list[str] = []
    with browser.new_context(permissions=["microphone"], accept_downloads=True) as context:
        made = context.new_page()
        made.on("pageerror", lambda error: problems.append(str(error)))
        made.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        made.goto(server.url)
        made.wait_for_selector("#server dd")
        yield made
    assert not problems


def test_captions_of_the_microphone_are_those_of_listen(page: sync_api.Page, spoken: Path) -> None:
    with wav2edge.listen(source=FileSource(spoken, fast=True)) as events:
        expected = text_of(list(events))
    page.click("#microphone")
    page.wait_for_selector(".word", timeout=30_000)
    page.wait_for_timeout(500)
    page.click("#microphone")
    page.wait_for_function("document.querySelector('#microphone').getAttribute('aria-pressed') === 'false'")
    found = " ".join(page.locator(".word").all_text_contents())
    assert found == expected != ""
    assert float(str(page.text_content("#delay")).split()[0]) < 5
    assert page.text_content("#lost") == "0.0 s"
    page.locator(".word").nth(1).click()
    page.wait_for_function("document.querySelector('#player').currentTime > 0.1")
    with page.expect_download() as started:
        page.click("[data-form=srt]")
    assert "-->" in Path(started.value.path()).read_text("utf-8")


def test_files_are_transcribed_searched_played_and_downloaded(
    page: sync_api.Page, recordings: list[Path], tmp_path: Path
) -> None:
    talk = tmp_path / "talk.flac"
    soundfile.write(talk, read.load(recordings[0]), 16000)
    with wav2edge.Transcriber() as transcribe:
        expected = transcribe(talk)
    page.set_input_files("#files", talk)
    page.wait_for_selector("#uploads li span:has-text('done')")
    assert page.locator(".word").all_text_contents() == [word.text for word in expected.words]
    for form, wanted in (("srt", expected.to_srt()), ("vtt", expected.to_vtt()), ("txt", None), ("json", None)):
        with page.expect_download() as started:
            page.click(f"[data-form={form}]")
        assert started.value.suggested_filename == f"transcript.{form}"
        text = Path(started.value.path()).read_text("utf-8")
        assert wanted is None or text == wanted, form
        if form == "json":
            assert json.loads(text)["text"] == expected.text
    page.fill("#search", expected.words[0].text)
    assert page.locator(".word.hit").count() >= 1
    page.locator(".word").last.click()
    page.wait_for_function("document.querySelector('#player').currentTime > 0.5")
    page.set_input_files("#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no sound"})
    page.wait_for_selector("#message:has-text('notes.txt')")
    page.click("#clear")
    assert page.locator(".word").count() == 0


def test_nothing_serious_for_axe_and_nothing_wider_than_the_screen(
    browser: sync_api.Browser, server: Running, recordings: list[Path], tmp_path: Path
) -> None:
    axe = Path(os.environ["AXE"]).read_text("utf-8")
    pictures = Path(os.environ.get("SCREENSHOTS", tmp_path))
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            with browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
            ) as context:
                page = context.new_page()
                page.goto(server.url)
                page.wait_for_selector("#server dd")
                page.set_input_files("#files", recordings[0])
                page.wait_for_selector("#uploads li span:has-text('done')")
                page.fill("#search", "a")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, width)
                page.screenshot(path=pictures / f"page-{width}-{scheme}.png", full_page=True)
                page.evaluate(axe)
                found = page.evaluate("axe.run()")["violations"]
                serious = [each for each in found if each["impact"] in ("serious", "critical")]
                assert not serious, (scheme, width, json.dumps(serious)[:2000])


def test_everything_can_be_reached_by_keyboard(page: sync_api.Page) -> None:
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    for wanted in ("skip", "model", "microphone", "files", "search", "transcript"):
        assert wanted in names, names
