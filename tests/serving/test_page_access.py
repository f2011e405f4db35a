"""What pages may do: the server's own with any token and at any local address, and those of allowed sites."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib import request as urls
from urllib.error import HTTPError

import pytest
from tests.serving.conftest import Running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from wav2edge.runtime.errors import InputError
from wav2edge.serving.models import Catalogue
from wav2edge.serving.server import ServerOptions

TOKEN = "ab/cd== à"  # "à" ends in a byte that Latin-1 has as a space
SITE = "https://ours.example"


@pytest.fixture(scope="module")
def guarded(catalogue: Catalogue) -> Iterator[Running]:
    """A server with a token that no subprotocol can hold, and a site whose pages may use it."""
    with Running(catalogue, ServerOptions(port=0, token=TOKEN, origins=(f"{SITE}/",))) as running:
        yield running


def status(url: str, **headers: str) -> int:
    """The status of a response."""
    try:
        with urls.urlopen(urls.Request(url, None, headers), timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def answer_to(server: Running, *lines: str) -> bytes:
    """What the server sends for a request whose lines no client would write."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall("\r\n".join((*lines, "Connection: close", "", "")).encode())
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_the_pages_links_need_no_token(guarded: Running) -> None:
    """/docs and /openapi.json answered 401: a browser that follows a link sends no header."""
    assert status(guarded.url + "/docs") == status(guarded.url + "/openapi.json") == 200
    assert status(guarded.url + "/v1/models") == status(guarded.url + "/metrics") == 401


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_token_of_other_letters_in_a_header(guarded: Running, encoding: str) -> None:
    """Only Latin-1 was accepted, while programs send UTF-8."""
    shown = TOKEN.encode(encoding).decode("latin-1")
    assert status(guarded.url + "/v1/models", Authorization=f"Bearer {shown}") == 200
    assert status(guarded.url + "/v1/models", Authorization=f"Bearer {shown}x") == 401


def test_a_token_that_no_subprotocol_can_hold(guarded: Running) -> None:
    address = guarded.url.replace("http", "ws") + "/v1/listen"
    encoded = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    with connect(address, subprotocols=[Subprotocol("wav2edge"), Subprotocol(f"wav2edge-token.{encoded}")]) as ws:
        assert json.loads(ws.recv())["event"] == "begin" and ws.subprotocol == "wav2edge"
    for wrong in ("", "a", encoded[:-2], "YQ"):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, subprotocols=[Subprotocol(f"wav2edge-token.{wrong}")])
        assert refused.value.response.status_code == 401, wrong


def test_a_page_of_an_allowed_site_may_send_any_header(guarded: Running) -> None:
    """Browsers asked for OpenAI's x-stainless-* and were refused, and a site with a slash at its end never matched."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-stainless-os"}
    for origin, expected in ((SITE, 200), ("https://evil.example", 400)):
        request = urls.Request(guarded.url + "/v1/models", headers={"Origin": origin, **asked}, method="OPTIONS")
        try:
            with urls.urlopen(request, timeout=30) as answer:
                found, headers = answer.status, answer.headers
        except HTTPError as error:
            found, headers = error.code, error.headers
        assert found == expected, origin
        if expected == 200:
            assert headers["access-control-allow-origin"] == SITE
            assert "x-stainless-os" in headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://slash.example/", "https://slash.example"),
        ("HTTPS://Intranet.Example:443", "https://intranet.example"),
        ("http://[::1]:08080", "http://[::1]:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_a_site_is_named_as_browsers_name_it(given: str, expected: str) -> None:
    assert ServerOptions(origins=(given,)).origins == (expected,)


@pytest.mark.parametrize(
    "given", ["*", "nonsense", "", "https://", "https://*.example", "https://a.example/app", "https://a:99999", "a..b"]
)
def test_what_is_not_one_site_is_refused(given: str) -> None:
    """Such a server started, and the pages were refused."""
    with pytest.raises(InputError, match="is not one site; give SCHEME://HOST") as refused:
        ServerOptions(origins=(given,))
    assert "\n" not in str(refused.value)


def test_the_command_says_that_a_site_is_none() -> None:
    command = [sys.executable, "-m", "wav2edge", "serve", "--port", "0", "--cors", "*"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "'*' is not one site" in done.stderr


def test_an_origin_and_a_host_that_are_none(server: Running, guarded: Running) -> None:
    """Both gave 500 with a traceback."""
    for each in (server, guarded):
        assert answer_to(each, "GET / HTTP/1.1", "Host: localhost", "Origin: http://[").startswith(b"HTTP/1.1 403")
        assert answer_to(each, "GET /page/none HTTP/1.1", "Host: [::").startswith(b"HTTP/1.1 421")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no address 127.0.0.2")
def test_a_server_answers_at_the_address_that_it_prints(catalogue: Catalogue) -> None:
    """It answered 421 to everything."""
    with Running(catalogue, ServerOptions(host="127.0.0.2", port=0)) as running:
        assert running.url.startswith("http://127.0.0.2:") and status(running.url + "/v1/models") == 200
        assert status(running.url + "/v1/models", Host="evil.example") == 421
