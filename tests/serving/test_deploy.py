"""The container files without a builder: what they say of users, health and limits, and that every folder is copied."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip("yaml", reason="comes with mkdocs")


def test_the_image_has_every_folder_of_the_package_and_no_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.M))
    assert copied == {"src", *(path.name for path in (ROOT / "src" / "wav2edge").iterdir() if path.is_symlink())}
    assert re.search(r"^USER 10001$", text, re.M) and "HEALTHCHECK" in text


def test_the_wheel_is_built_from_what_the_image_copies(tmp_path: Path) -> None:
    """pyproject.toml named a file that was not copied, and no image could be built."""
    pytest.importorskip("hatchling", reason="builds the wheel")
    source = tmp_path / "source"
    source.mkdir()
    build = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[0]
    unwanted = shutil.ignore_patterns("__pycache__")
    for line in re.findall(r"^COPY (.+)$", build, re.M):
        *names, target = line.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / target, symlinks=True, ignore=unwanted)
            else:
                shutil.copy(ROOT / name, source / target)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.whl"))) == 1


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
