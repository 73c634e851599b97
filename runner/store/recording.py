"""The reader of recordings: lines in handling order, as far as they are whole.

A zstd frame is the unit of damage: reading stops at the first one that is cut off, has a wrong
checksum or holds a line of no known shape, and `Recording.state` says how many lines were kept.
Nothing behind it is guessed at, in later segments neither: a gap in the middle would be a false
market. Whole batches are decoded by one call, which is what makes a replay fast.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import zstandard

from runner.base.errors import WorldError
from runner.store.lines import UNSTAMPED, VERSION, AnyLine, Close, End, Head, Open
from runner.store.recorder import SUFFIX

_CHUNK: Final = 256 * 1024
_LARGEST_FRAME: Final = 256 * 1024 * 1024

_SPECIAL: Final = frozenset({Head, Open, Close, End})
_decode_lines: Final = msgspec.json.Decoder(AnyLine).decode_lines


@dataclass(slots=True)
class ReadState:
    """How far a reading has come. `broken` says why it stopped early, "" while all is well."""

    lines: int = 0
    segments: int = 0
    broken: str = ""
    ended: bool = False
    """the last segment read has its end line: nothing was cut off"""


class Recording:
    """A folder of segments, or a run that has one. Iterate once; then look at `state`."""

    def __init__(self, folder: Path) -> None:
        folder = folder / "recording" if (folder / "recording").is_dir() else folder
        self.folder = folder
        self.paths = sorted(folder.glob("*" + SUFFIX)) if folder.is_dir() else [folder]
        if not folder.exists():
            raise WorldError(f"{folder}: there is no such recording")
        if not self.paths or not self.paths[0].is_file():
            runs = sorted((folder / "runs").glob("*"))
            more = f"; it holds runs: name one, such as {runs[-1]}" if runs else ""
            if (folder / "decisions.jsonl").is_file():
                more = "; this run kept none: it was over a recording, or with --no-record"
            raise WorldError(f"{folder} holds no recording (*{SUFFIX}){more}")
        self.state = ReadState()
        self.head = self._first_head()

    def __iter__(self) -> Iterator[AnyLine]:
        return itertools.chain.from_iterable(self.batches())

    def batches(self) -> Iterator[list[AnyLine]]:
        """Yield lists of lines; heads after the first, ends and repeated opens are left out."""
        self.state = ReadState()
        opened: set[int] = set()
        for number, path in enumerate(self.paths):
            with path.open("rb") as file:
                for lines in self._decoded(file, path):
                    kept = self._own(lines, opened, first=number == 0)
                    self.state.lines += len(kept)
                    yield kept
            if self.state.broken:
                return
            self.state.segments += 1
            if not self.state.ended and number + 1 < len(self.paths):
                self.state.broken = f"{path.name}: cut off before its end"
                return

    def _own(self, lines: list[AnyLine], opened: set[int], first: bool) -> list[AnyLine]:
        """Drop what only segments need; most batches have nothing of it and pass unchanged."""
        if _SPECIAL.isdisjoint(map(type, lines)):
            self.state.ended = False
            return lines
        kept: list[AnyLine] = []
        for line in lines:
            self.state.ended = isinstance(line, End)
            if isinstance(line, End) or (isinstance(line, Head) and not first):
                continue
            if isinstance(line, Open):
                if line.c in opened:
                    continue
                opened.add(line.c)
            elif isinstance(line, Close):
                opened.discard(line.c)
            kept.append(line)
        return kept

    def _decoded(self, file: BinaryIO, path: Path) -> Iterator[list[AnyLine]]:
        frames = _frames(file)
        for number in itertools.count(1):
            try:
                lines = _decode_lines(next(frames))
            except StopIteration:
                return
            except (zstandard.ZstdError, EOFError, ValueError) as error:
                self.state.broken = f"{path.name}: zstd frame {number}: {error}"
                self.state.ended = False
                return
            if lines:
                yield lines

    def _first_head(self) -> Head:
        path = self.paths[0]
        with path.open("rb") as file:
            lines = next(self._decoded(file, path), [])
        if not lines or not isinstance(lines[0], Head):
            said = self.state.broken or "it does not begin with a head"
            raise WorldError(f"{self.folder} is no recording that can be read: {said}")
        if lines[0].v > VERSION:
            raise WorldError(
                f"{self.folder} has format {lines[0].v}, this runner reads up to {VERSION}"
            )
        return lines[0]


def merge(recordings: Sequence[Recording]) -> Iterator[AnyLine]:
    """Yield the lines of several recordings in the order of their wall clocks.

    Times become ns since the earliest head; connections are renumbered so that none is shared.
    Lines of one recording keep their order. A single recording passes unchanged.
    """
    if len(recordings) == 1:
        yield from recordings[0]
        return
    origin = min(each.head.wall for each in recordings)
    numbers = itertools.count(1)
    sources = [_Source(each, origin, numbers) for each in recordings]
    while sources := [each for each in sources if each.fill()]:
        until = min(each.waiting[-1].t for each in sources)
        ready = [line for each in sources for line in each.take(until)]
        ready.sort(key=attrgetter("t"))
        yield from ready


class _Source:
    """One recording of a merge: a batch that waits, with times and connections rewritten."""

    def __init__(self, recording: Recording, origin: int, numbers: Iterator[int]) -> None:
        self._batches = recording.batches()
        self._shift = recording.head.wall - recording.head.mono - origin
        self._numbers = numbers
        self._renumbered: dict[int, int] = {}
        self._last = recording.head.wall - origin
        self.waiting: list[AnyLine] = []

    def fill(self) -> bool:
        """Read on when nothing waits; False at the end."""
        while not self.waiting:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self.waiting = [self._rewritten(line) for line in batch]
        return True

    def take(self, until: int) -> list[AnyLine]:
        """Take what is not later than `until`."""
        waiting = self.waiting
        if waiting[-1].t <= until:
            self.waiting = []
            return waiting
        cut = next(i for i, line in enumerate(waiting) if line.t > until)
        self.waiting = waiting[cut:]
        return waiting[:cut]

    def _rewritten(self, line: AnyLine) -> AnyLine:
        # A recording's own order stands, even where a time stamp goes back.
        if line.t != UNSTAMPED:
            self._last = max(self._last, line.t + self._shift)
        line.t = self._last
        if isinstance(line, Head):
            line.w = line.wall
        if isinstance(line, Head | End) or not hasattr(line, "c"):
            return line
        if isinstance(line, Open) or line.c not in self._renumbered:
            self._renumbered[line.c] = next(self._numbers)
        line.c = self._renumbered[line.c]
        return line


def _frames(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of each zstd frame; EOFError when the last one is cut off."""
    data = file.read(_CHUNK)
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts: list[bytes] = []
        size = 0
        while True:
            part = frame.decompress(data)
            parts.append(part)
            size += len(part)
            if size > _LARGEST_FRAME:
                raise EOFError("larger than any frame that is written")
            if frame.eof:
                data = frame.unused_data or file.read(_CHUNK)
                break
            data = file.read(_CHUNK)
            if not data:
                raise EOFError("cut off")
        yield b"".join(parts)
