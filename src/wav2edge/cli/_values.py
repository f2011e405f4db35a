"""Types of option values: one of some words, a number between bounds, a list."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class OneOf(click.ParamType[str]):
    """One of a few words, which are looked up on use because that may import something large."""

    name = "choice"

    def __init__(self, words: Callable[[], Iterable[str]], shown: str | None = None) -> None:
        """``words``: returns the choices. ``shown``: their name in the help (default: the choices themselves)."""
        self._words = words
        self._shown = shown

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The placeholder of the value in the help."""
        return self._shown or "|".join(self._words())

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, if it is one of them."""
        if value not in (words := tuple(self._words())):
            self.fail(f"{value}: choose from {', '.join(words)}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words that begin so."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self._words() if word.startswith(incomplete)]


class Suggested(OneOf):
    """Any word; a few are offered for completion. The library raises an error for a wrong one."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is."""
        return str(value)


class Number(click.ParamType[float]):
    """A number between bounds; the lowest is excluded where ``above`` is true."""

    name = "number"

    def __init__(
        self, kind: type[int] | type[float], lowest: float, highest: float, what: str, *, above: bool = False
    ) -> None:
        """``what``: the unit in a message, such as ``seconds``."""
        self._kind = kind
        self._lowest, self._highest = lowest, highest
        self._what = what
        self._above = above

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; nan and inf are outside of any bounds."""
        try:
            number: float = self._kind(value) if isinstance(value, (str, int, float)) else math.nan
        except ValueError:
            number = math.nan
        if not self._lowest <= number <= self._highest or (self._above and number == self._lowest):
            low, high = f"{self._lowest:.10g}", f"{self._highest:.10g}"
            bounds = f"above {low}, at most {high}" if self._above else f"from {low} to {high}"
            self.fail(f"{value}: give {self._what} {bounds}", param, ctx)
        return number


class Written(click.Path):
    """A file to be written, or a folder for several: neither a bundle nor anything inside one."""

    def __init__(self, *, folder: bool) -> None:
        """``folder``: whether it may be one."""
        super().__init__()
        self._folder = folder

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path as it is given; ``-`` is standard output."""
        if reason := inside_bundle(value):
            self.fail(reason, param, ctx)
        if not self._folder and str(value) != "-" and Path(value).is_dir():
            self.fail(f"{value}: is a folder; name a file", param, ctx)
        if self._folder and Path(value).is_file() and Path(value).suffix != ".html":  # a report may be one page
            self.fail(f"{value}: is a file; name a folder", param, ctx)
        return super().convert(value, param, ctx)


class Folder(click.Path):
    """A folder's name, which the shell completes; what is wrong with it, the library says."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The name as it is given."""
        return self.coerce_path_result(value)


def inside_bundle(value: str | os.PathLike[str]) -> str | None:
    """Why a place cannot be written to, because it is a bundle or inside one; None where it can, and for ``-``."""
    if str(value) == "-":
        return None
    place = Path(value).resolve()
    bundle = next((folder for folder in (place, *place.parents) if _is_bundle(folder)), None)
    if bundle is None:
        return None
    part = "is a bundle" if place == bundle else f"is inside the bundle {bundle}"
    return f"{value}: {part}; write to another place"


def _is_bundle(folder: Path) -> bool:
    """Whether a folder has a bundle's list of files, which another program's file of that name is not."""
    import json  # 3 ms, which only commands that write something need

    from wav2edge.runtime.bundle.trust import MANIFEST

    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except (ValueError, RecursionError):  # a damaged bundle is one too
        return True
    except OSError:
        return False
    return isinstance(document, dict) and "variants" in document


COUNT = Number(int, 1, 1_000_000, "a whole number")
SECONDS = Number(float, 0, 3600, "seconds", above=True)
SHARE = Number(float, 0, 1, "a number")


class Listed(click.ParamType[tuple[object, ...]]):
    """Values with commas."""

    name = "list"

    def __init__(self, item: click.ParamType[object]) -> None:
        self._item = item

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[object, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(words):
            self.fail(f"{value}: an empty name between commas", param, ctx)
        return tuple(self._item.convert(word, param, ctx) for word in words)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        found = self._item.shell_complete(ctx, param, last)
        for item in found:
            item.value = f"{before}{comma}{item.value}"
        return found
