"""The container files without a builder: what they say of users, health and limits, and that every folder is copied."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip("yaml", reason="comes with mkdocs")


def test_the_image_has_every_folder_of_the_package_and_no_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.M))
    assert copied == {"src", *(path.name for path in (ROOT / "src" / "wav2edge").iterdir() if path.is_symlink())}
    assert re.search(r"^USER 10001$", text, re.M) and "HEALTHCHECK" in text


def test_compose_and_kubernetes_are_read_only_without_root_and_want_a_token() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["wav2edge"]
    assert (
        service["read_only"] is True
        and service["cap_drop"] == ["ALL"]
        and "?" in service["environment"]["WAV2EDGE_TOKEN"]
    )
    deployment, front = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert front["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
