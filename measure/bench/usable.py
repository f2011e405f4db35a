"""The recordings of a manifest that every configuration could use, and what each of them gave for these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from ...runtime.errors import AudioError
from ..manifest import Row

Given = TypeVar("Given")
"""What a configuration gives for a recording: a text, or the answer of another head."""
Key: TypeAlias = tuple[Path, str]
"""A configuration: its bundle and its name."""
Done = Callable[[int, int], None]
"""Called with the recordings that are done, and all."""


@dataclass(eq=False)
class UsableRows(Generic[Given]):
    """The rows of a manifest, what configurations gave for them, and those that one of them could not use.

    refused: a line for each row of the manifest that is not among ``rows``, because it cannot be used.
    """

    rows: Sequence[Row]
    refused: Sequence[str] = ()
    _given: dict[Key, dict[int, Given]] = field(default_factory=dict)
    _unusable: dict[int, str] = field(default_factory=dict)

    def ask(self, key: Key, answer: Callable[[Row], Given], done: Done) -> None:
        """Run a configuration on every recording that all before it could use.

        answer: raises AudioError for a recording that cannot be used, EngineError where the configuration fails; after
        the latter nothing of it counts.
        """
        given: dict[int, Given] = {}
        unusable: dict[int, str] = {}
        left = [number for number in range(len(self.rows)) if number not in self._unusable]
        for count, number in enumerate(left):
            done(count, len(left))
            row = self.rows[number]
            try:
                given[number] = answer(row)
            except AudioError as error:
                unusable[number] = f"{row.source}: {error}"
        self._given[key] = given
        self._unusable.update(unusable)

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each row of the manifest that could not be used."""
        return (*self.refused, *(line for _, line in sorted(self._unusable.items())))

    @property
    def used(self) -> list[Row]:
        """The rows that every configuration could use."""
        return [self.rows[number] for number in self._used()]

    def given(self) -> dict[Key, list[Given]]:
        """What each configuration gave for the rows that every one could use, in their order."""
        return {key: [of_row[number] for number in self._used()] for key, of_row in self._given.items()}

    def _used(self) -> list[int]:
        return [number for number in range(len(self.rows)) if number not in self._unusable]
