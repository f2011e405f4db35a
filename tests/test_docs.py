"""The documentation says what is: names, snippets, commands, places, variables and the site itself."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import wav2edge
from wav2edge.runtime import errors
from wav2edge.runtime.live import events

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHECKPOINT = ROOT / "recipes" / "embedded" / "checkpoint"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
FOLDERS = ("runtime", "devices", "measure", "graphs", "calibration", "export", "src", "scripts")

NOT_RUN = {
    "pip install": "needs a package index; tests/test_packaging.py installs the wheel",
    "sudo apt-get install": "needs root; .ci/run installs the package",
    "tar xf": "installs from a package index; tests/boards installs archives",
    "alias": "is for the reader's shell; tests/boards runs what it names",
}
"""Commands of the README that no test runs, by how they begin, and why."""
WITHOUT_HARDWARE = {
    "wav2edge listen -m my-bundle": " --file talk.flac --fast",
    'wav2edge.listen("my-bundle")': 'wav2edge.listen("my-bundle", "talk.flac")',
}
"""What listens to a microphone takes a file instead: the machine of the tests has none."""
SHORTER = {"wav2edge quantize": " --variant int8-dynamic --force"}
"""What would take minutes makes one variant of several; tests/calibration makes them all. Forced, since whether it is
faster than fp32 depends on what else the machine does at that moment; tests/calibration holds the gate."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    """The lines of a page's shell blocks, comments dropped."""
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            if command := line.partition(" #")[0].strip():
                yield command


def environment(workspace: Path) -> dict[str, str]:
    """The environment of a reader who has installed the project."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cache = str(workspace / "cache")
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "WAV2EDGE_CACHE": cache}


def test_the_reference_covers_every_public_name() -> None:
    reference = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    documented = set(re.findall(r"^::: wav2edge\.(?:api\.)?(\w+)$", reference, re.MULTILINE))
    assert documented == set(wav2edge.__all__) - {"__version__"}


def test_every_public_name_has_a_docstring() -> None:
    names = set(wav2edge.__all__) - {"__version__"}
    assert {name for name in names if not (getattr(wav2edge, name).__doc__ or "").strip()} == set()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_snippets_run(page: Path, workspace: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    for microphone, file in WITHOUT_HARDWARE.items():
        code = code.replace(microphone, file)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workspace,
        env=environment(workspace),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_readme_runs(workspace: Path) -> None:
    """In their order: what one makes is what the next takes."""
    (workspace / "my-checkpoint").symlink_to(CHECKPOINT)
    for made in (workspace / "my-bundle").iterdir():
        made.unlink()
    (workspace / "my-bundle").rmdir()
    ran = 0
    for command in commands(ROOT / "README.md"):
        if any(command.startswith(start) for start in NOT_RUN):
            continue
        for start, addition in (WITHOUT_HARDWARE | SHORTER).items():
            command += addition if command.startswith(start) else ""
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=workspace, env=environment(workspace), capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        ran += 1
    assert ran >= 10


def test_every_command_of_the_documentation_exists() -> None:
    """Each ``wav2edge …`` line of a page names a command that is there, with options that it has."""
    wrong = []
    for page in PAGES:
        for line in commands(page):
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part)
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words.pop(0)
                if words[:1] == ["wav2edge"]:
                    wrong += [f"{page.name}: {part.strip()}: {problem}" for problem in problems(words[1:])]
    assert wrong == []


def problems(words: list[str]) -> Iterator[str]:
    """What is wrong with the words of one command."""
    import click

    from wav2edge import cli

    root = vars(cli)["root"]
    if not words or words[0].startswith("-"):
        return
    command = root.get_command(click.Context(root), words[0])
    if command is None:
        yield "no such command"
        return
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words[1:]:
        option = word.partition("=")[0]
        if option.startswith("-") and len(option) > 1 and option not in known | {"--help"}:
            yield f"no option {option}"


def test_where_is_it_is_true() -> None:
    """The page names places that exist and names that are defined there."""
    rows = re.findall(
        r"^\| (Where.*?) \| (.*?) \| (.*?) \|$", (DOCS / "explanation" / "where-is-it.md").read_text("utf-8"), re.M
    )
    assert len(rows) >= 12
    for question, places, names in rows:
        paths = [ROOT / place for place in re.findall(r"`(.+?)`", places)]
        assert paths and all(path.exists() for path in paths), question
        source = "".join(path.read_text("utf-8") for path in paths if path.is_file())
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(def|class) {name}\b|^{name}\b.* = ", source, re.MULTILINE), f"{question} {name}"


def test_every_environment_variable_is_documented() -> None:
    page = (DOCS / "reference" / "environment.md").read_text("utf-8")
    files = [path for folder in (*FOLDERS, "tests/gpu") for path in (ROOT / folder).rglob("*") if path.is_file()]
    source = "".join(path.read_text("utf-8", errors="ignore") for path in files if path.suffix in ("", ".py"))
    used = set(re.findall(r"\bWAV2EDGE_[A-Z_]+\b", source)) - {"WAV2EDGE_COMPLETE"}
    assert used == set(re.findall(r"`(WAV2EDGE_[A-Z_]+)`", page))


def test_exit_codes_are_those_of_the_errors() -> None:
    page = (DOCS / "reference" / "exit-codes.md").read_text("utf-8")
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Wav2EdgeError)
    ]
    assert {0} | {kind.exit_code for kind in kinds} == {int(code) for code in re.findall(r"^\| (\d) \|", page, re.M)}


def test_figures_name_date_and_machine_or_simulation() -> None:
    for figure in (DOCS / "figures").glob("*.md"):
        first = figure.read_text("utf-8").partition("\n")[0]
        assert re.match(r"\*Measured .*20\d\d-\d\d-\d\d (on|in simulated time)", first), figure.name
        assert re.search(r"by `", first), figure.name


def test_every_field_of_an_event_has_a_meaning() -> None:
    definitions = cast("dict[str, dict[str, dict[str, dict[str, str]]]]", events.schema()["$defs"])
    for name, kind in definitions.items():
        assert all(field["description"] for field in kind["properties"].values()), name


def test_the_readme_names_every_family() -> None:
    from wav2edge.export.families import FAMILIES

    readme = re.sub(r"[^a-z0-9]", "", (ROOT / "README.md").read_text("utf-8").lower())
    assert [row.classes for row in FAMILIES if row.classes.lower() not in readme] == []


def test_the_readme_is_short_and_can_be_filled() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.splitlines()) < 120
    assert readme.count("<!-- embedded model: begin -->\n") == readme.count("<!-- embedded model: end -->") == 1


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the dependency group docs")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, env=environment(tmp_path) | {"NO_MKDOCS_2_WARNING": "1"}, check=True, capture_output=True,
        timeout=280,
    )  # fmt: skip
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in tmp_path.rglob("*.html"):
        assert not loaded.findall(page.read_text("utf-8")), page.name
    for style in tmp_path.rglob("*.css"):
        assert not re.findall(r"url\(\"?(?:https?:)?//|@import \"?(?:https?:)?//", style.read_text("utf-8")), style.name
    assert not re.findall("<!-- generated", "".join(page.read_text("utf-8") for page in tmp_path.rglob("*.html")))
