"""The page in a real Chromium when something fails: the connection, the token, the server.

Run by ``scripts/test --page``. The microphone is Chromium's own fake one, which beeps.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Running

from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import ServerOptions

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="scripts/test --page installs what this needs")
pytestmark = pytest.mark.page

SLOW_PERMISSION = """
    window.tracks = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      const media = await ask(wanted);
      window.tracks.push(...media.getTracks());
      return media;
    };
"""
TRACKS_ON = "window.tracks.filter((track) => track.readyState === 'live').length"
IDLE = "#microphone:has-text('Start microphone')"
LIVE = "#microphone:has-text('Stop microphone')"


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield made
        made.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    """A page that has loaded nothing yet; errors of its scripts fail the test."""
    problems: list[str] = []
    with browser.new_context(permissions=["microphone"], accept_downloads=True) as context:
        made = context.new_page()
        made.add_init_script(SLOW_PERMISSION)
        made.on("pageerror", lambda error: problems.append(str(error)))
        yield made
    assert not problems


def opened(page: sync_api.Page, server: Running) -> None:
    """Load the page."""
    page.goto(server.url)
    page.wait_for_selector("#server dd")


def captions(page: sync_api.Page, *events: dict[str, object], code: int | None = None) -> list[str | bytes]:
    """Live captions that send events, and are cut off with a code; returns what the page will have sent."""
    received: list[str | bytes] = []

    def talk(route: sync_api.WebSocketRoute) -> None:
        route.on_message(lambda message: received.append(message))
        for event in events:
            route.send(json.dumps(event))
        if code is not None:
            route.close(code=code)

    page.route_web_socket(re.compile("/v1/listen"), talk)
    return received


def final(utterance: int, start: float, *texts: str) -> dict[str, object]:
    """A final with words of half a second."""
    words = [{"text": text, "start": start + i / 2, "end": start + i / 2 + 0.4} for i, text in enumerate(texts)]
    end = start + len(texts) / 2
    spoken = {"start": start, "end": end, "text": " ".join(texts), "words": words}
    return {"event": "final", "utterance": utterance, **spoken}


def partial(utterance: int, start: float, end: float, stable: str, tentative: str, gap: str = " ") -> dict[str, object]:
    """A partial."""
    times = {"utterance": utterance, "start": start, "end": end}
    return {"event": "partial", **times, "stable": stable, "tentative": tentative, "gap": gap}


def downloaded(page: sync_api.Page, form: str) -> str:
    """A file of the page."""
    with page.expect_download() as started:
        page.click(f"[data-form={form}]")
    return Path(started.value.path()).read_text("utf-8")


def test_a_lost_connection_is_said_and_loses_no_word_that_was_shown(page: sync_api.Page, server: Running) -> None:
    """The page said nothing, and the words of the running utterance were in none of its files."""
    captions(page, final(0, 0.0, "one", "two"), partial(1, 1.5, 3.0, "three four", "five"), code=1011)
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#message:has-text('connection to the server was lost')")
    assert page.get_attribute("#message", "role") == "alert"
    assert page.locator(".word").all_text_contents() == ["one", "two", "three", "four", "five"]
    assert page.text_content("#tentative") == "" and page.locator(IDLE).count() == 1
    assert page.evaluate(TRACKS_ON) == 0
    assert downloaded(page, "txt") == "one two\nthree four five\n"
    assert "--> 00:00:03,000\nthree four five\n" in downloaded(page, "srt")
    assert "\nthree four five\n" in downloaded(page, "vtt")
    kept = json.loads(downloaded(page, "json"))[0]["segments"][-1]
    assert (kept["text"], kept["final"], kept["words"][0]["start"]) == ("three four five", False, 1.5)


def test_a_microphone_that_is_unplugged_is_said_and_its_last_words_come(page: sync_api.Page, server: Running) -> None:
    received = captions(page, partial(0, 0.0, 1.0, "hello", "there"))
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#tentative:has-text('there')")
    page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")
    page.wait_for_selector("#message:has-text('unplugged')")
    page.wait_for_selector("#microphone:has-text('Finishing')")
    page.wait_for_timeout(200)
    assert '{"type": "finish"}' in received


def test_words_that_are_shown_before_their_final_are_in_the_files(page: sync_api.Page, server: Running) -> None:
    captions(page, partial(0, 0.0, 1.0, "hello", "there"))
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#tentative:has-text('there')")
    assert downloaded(page, "txt") == "hello there\n"


def test_a_text_without_spaces_stays_without(page: sync_api.Page, server: Running) -> None:
    said = {**final(0, 0.0, "你", "好"), "text": "你好"}
    captions(page, said, partial(1, 1.0, 2.0, "世", "界", gap=""))
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#tentative:has-text('界')")
    assert downloaded(page, "txt") == "你好\n世界\n"
    assert page.text_content("#transcript p") == "你好"


def test_words_after_clear_are_shown(page: sync_api.Page, server: Running) -> None:
    """The next event failed on the place that clearing had taken away, and no word was shown any more."""
    routes: list[sync_api.WebSocketRoute] = []
    page.route_web_socket(re.compile("/v1/listen"), lambda route: routes.append(route))
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector(LIVE)
    routes[0].send(json.dumps(final(0, 0.0, "before")))
    page.wait_for_selector(".word")
    page.click("#clear")
    routes[0].send(json.dumps(final(1, 1.0, "after")))
    page.wait_for_selector(".word")
    assert page.locator(".word").all_text_contents() == ["after"]
    assert downloaded(page, "txt") == "after\n"


def test_captions_that_the_server_ends_are_said(page: sync_api.Page, server: Running) -> None:
    captions(page, final(0, 0.0, "bye"), {"event": "end"})
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#message:has-text('the server ended the live captions')")
    assert page.locator(IDLE).count() == 1


def test_an_error_of_the_captions_stays_to_be_read(page: sync_api.Page, server: Running) -> None:
    captions(page, {"event": "error", "message": "too many streams"}, code=1008)
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#message:has-text('too many streams')")
    page.wait_for_selector(IDLE)
    assert page.text_content("#message") == "too many streams"


def test_a_second_click_while_the_browser_asks_starts_nothing_more(page: sync_api.Page, server: Running) -> None:
    """It opened a second socket, and the first microphone could not be stopped."""
    sockets: list[object] = []
    page.on("websocket", lambda made: sockets.append(made))
    opened(page, server)
    page.dblclick("#microphone")
    page.wait_for_selector(LIVE)
    page.wait_for_timeout(500)
    assert len(sockets) == 1 and page.evaluate("window.tracks.length") == 1
    page.click("#microphone")
    page.wait_for_selector(IDLE)
    assert page.evaluate(TRACKS_ON) == 0 and page.text_content("#message") == ""


def test_a_microphone_that_stops_before_its_connection_still_finishes(page: sync_api.Page, server: Running) -> None:
    """A socket that opened after Stop was never told that the sound is over."""
    page.add_init_script("""
        window.WebSocket = class extends EventTarget {
          static CONNECTING = 0; static OPEN = 1;
          readyState = 0; sent = []; close() {}
          constructor() { super(); window.socket = this; }
          send(data) { this.sent.push(data); }
        };
    """)
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector(LIVE)
    page.click("#microphone")
    page.evaluate("window.socket.readyState = 1, window.socket.onopen()")
    assert page.evaluate("window.socket.sent.at(-1)") == '{"type": "finish"}'


@pytest.mark.parametrize("token", ["ab/cd==", "schlüssel à", "鍵 🔑"])
def test_a_token_of_any_characters(page: sync_api.Page, catalogue: Catalogue, token: str) -> None:
    """The socket's constructor failed, with the microphone left on."""
    with Running(catalogue, ServerOptions(port=0, token=token)) as server:
        page.goto(server.url)
        page.wait_for_selector("#ask")
        page.fill("#token", token)
        page.click("#ask button")
        page.wait_for_selector("#server dd")
        assert page.text_content("#away") == ""
        page.click("#microphone")
        page.wait_for_selector(LIVE)
        page.wait_for_timeout(500)
        page.click("#microphone")
        page.wait_for_selector(IDLE)
        assert page.text_content("#message") == ""
        page.click("a[href='/docs']")
        page.wait_for_selector("h1:has-text('wav2edge API')")


def test_a_start_that_fails_leaves_no_microphone_on(page: sync_api.Page, server: Running) -> None:
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error('no socket'); } };")
    opened(page, server)
    page.click("#microphone")
    page.wait_for_selector("#message:has-text('no socket')")
    assert page.evaluate("window.tracks.length") == 1 and page.evaluate(TRACKS_ON) == 0
    assert page.locator(IDLE).count() == 1


def test_a_server_that_is_away_is_said_once_until_it_is_back(page: sync_api.Page, server: Running) -> None:
    """'Failed to fetch' was written every three seconds, and stayed for ever."""
    opened(page, server)
    page.evaluate("""() => {
        window.written = 0;
        const observer = new MutationObserver(() => { window.written += 1; });
        document.querySelectorAll("[role=alert]").forEach((each) => {
          observer.observe(each, { childList: true, characterData: true, subtree: true });
        });
    }""")
    page.route("**/v1/status", lambda route: route.abort())
    page.wait_for_selector("[role=alert]:has-text('the server cannot be reached')")
    page.wait_for_timeout(3500)
    assert page.evaluate("window.written") == 1
    page.unroute("**/v1/status")
    page.wait_for_selector("#away:empty", state="attached")


def test_a_recording_whose_connection_is_lost_is_said(page: sync_api.Page, server: Running) -> None:
    """The page went on showing its progress."""
    word = {"word": "hello", "start": 0.2, "end": 0.9, "probability": 0.9}
    sent: list[dict[str, object]] = [
        {"type": "progress", "done": 1, "total": 2},
        {"type": "segment", "segment": {"start": 0, "end": 1, "text": "hello", "words": [word]}},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in sent)
    page.route("**/v1/recordings", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    opened(page, server)
    page.set_input_files("#files", {"name": "talk.wav", "mimeType": "audio/wav", "buffer": b"sound"})
    page.wait_for_selector("#message:has-text('talk.wav: the server ended before')")
    assert page.text_content("#uploads li") == "talk.wav: failed"
    assert downloaded(page, "txt") == "hello\n"
