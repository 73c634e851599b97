"""YAML nodes with exact places, keys too; `lang/reader.py` builds them from a text.

A node with a mistake is reported once and marked `bad`: later stages stay silent about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.lang.diagnostics import Mark, Text
from runner.lang.scalars import Value


@dataclass(slots=True)
class Scalar:
    """A value without structure. `text` is what the file says, `value` what it means."""

    mark: Mark
    text: str
    value: Value
    quoted: bool = False
    source: Text = field(default_factory=lambda: Text("", Mark(1, 1, 2)))
    bad: bool = False


@dataclass(slots=True)
class Sequence:
    """A list; `mark` is its first character."""

    mark: Mark
    items: list[Node] = field(default_factory=list)
    bad: bool = False


@dataclass(slots=True)
class Entry:
    """A key and its value."""

    key: Scalar
    value: Node


@dataclass(slots=True)
class Mapping:
    """Keys and values in the file's order; of a duplicate key the last value stands."""

    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)
    flow: bool = False
    bad: bool = False

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def get(self, key: str) -> Node | None:
        """Return the value of `key`, or None."""
        entry = self.entries.get(key)
        return None if entry is None else entry.value

    def key(self, key: str) -> Mark:
        """Return where `key` stands; the mapping's own place when it is absent."""
        entry = self.entries.get(key)
        return self.mark if entry is None else entry.key.mark


Node = Scalar | Sequence | Mapping
