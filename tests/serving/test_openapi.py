"""The description of the API names the statuses that the server gives, each path its own."""

from __future__ import annotations

import pytest
from tests.serving.conftest import Running
from tests.serving.test_guard import FORM, asked, form

from wav2edge.serving import openapi

PATHS: dict[str, dict[str, dict[str, dict[str, object]]]] = openapi.document("1")["paths"]  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("path", "method", "status", "headers"),
    [
        ("/v1/models", "get", 403, {"Origin": "https://other.example"}),
        ("/healthz", "get", 403, {"Origin": "https://other.example"}),
        ("/v1/status", "get", 421, {"Host": "other.example"}),
        ("/v1/audio/transcriptions", "post", 421, {"Host": "other.example"}),
        ("/metrics", "post", 405, {}),
        ("/v1/models/{model}", "get", 404, {}),
        ("/v1/streams/{stream}/events", "get", 404, {}),
        ("/v1/recordings", "post", 415, {"Content_Type": "text/plain"}),
        ("/v1/recordings", "post", 400, {"Content_Type": FORM}),
    ],
)
def test_a_status_that_the_server_gives_is_described(
    server: Running, path: str, method: str, status: int, headers: dict[str, str]
) -> None:
    """403, 405 and 421 were missing."""
    address = server.url + path.replace("{model}", "none").replace("{stream}", "none")
    data = None if method == "get" else form("a.wav", b"", model="") if status == 400 else b"x"
    assert asked(address, data, **headers)[0] == status
    described = next(iter(PATHS[path].values()))["responses"]
    assert str(status) in described


def test_a_path_has_no_status_that_it_cannot_give() -> None:
    """Each path had all of them: a model that is too large, a socket of the wrong form."""
    statuses = {path: set(next(iter(methods.values()))["responses"]) for path, methods in PATHS.items()}
    assert statuses["/healthz"] == {"200", "403", "405", "421"}
    assert statuses["/v1/models"] == {"200", "401", "403", "405", "421"}
    assert statuses["/v1/listen"] == {"101", "401", "403", "421"}
    assert "429" not in statuses["/v1/recordings"] and "413" in statuses["/v1/recordings"]
