"""The writer of recordings: a tuple on the hot path, everything else beside it.

Theory of operation. `frame`, `event` and the others append to a list. `encode` turns a slice of it
into lines, between reads of the loop. What was encoded becomes a zstd frame of its own every second
or mebibyte, compressed and written by a thread that spends its time in C; a kill loses what is
younger, and what is on disk is readable up to the last whole frame. A segment ends after 64 MiB of
lines or 5 min, and each begins with a head and with the connections that are open, so that it can
be read without the ones before it.

A recording never stops trading: when its disk fails, `failure` says so and lines are dropped.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import zstandard

from runner.base.clock import NS_PER_S, Clock
from runner.base.crash import crash_point
from runner.base.errors import WorldError
from runner.base.secret import redact
from runner.engine.events import Event
from runner.net.doors import without_query
from runner.store.lines import (
    Close,
    End,
    Head,
    Http,
    Line,
    Open,
    Out,
    Strategy,
    event_bytes,
    in_bytes,
    line_bytes,
)

SUFFIX: Final = ".jsonl.zst"
FRAME_BYTES: Final = 1024 * 1024
FRAME_NS: Final = NS_PER_S
SEGMENT_BYTES: Final = 64 * 1024 * 1024
SEGMENT_NS: Final = 300 * NS_PER_S
SLICE: Final = 64
_LEVEL: Final = 3
_MOST_QUEUED: Final = 64
_PUMP_S: Final = 0.005

Frame = tuple[int, int, int, bool, bytes]


@dataclass(frozen=True, slots=True)
class About:
    """What the heads of a recording say. `facts` is anything that JSON holds."""

    run: str
    runner: str
    source: str
    strategy: Strategy = field(default_factory=Strategy)
    facts: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """Writes one recording into `folder` (0700, made here). `run` or `encode` must be driven."""

    def __init__(
        self,
        folder: Path,
        about: About,
        clock: Clock,
        segment_bytes: int = SEGMENT_BYTES,
        segment_ns: int = SEGMENT_NS,
        patient: bool = False,
    ) -> None:
        """`patient`: wait for a slow disk instead of dropping lines (imports, virtual time)."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WorldError(f"cannot record into {folder}: {error.strerror}") from error
        if any(folder.glob("*" + SUFFIX)):
            raise WorldError(f"{folder} holds a recording already")
        self._about = about
        self._clock = clock
        self._segment_bytes, self._segment_ns = segment_bytes, segment_ns
        self._waiting: deque[Frame | Line | Event] = deque()
        self._buffer = bytearray()
        self._buffer_since = 0
        self._open: dict[int, Open] = {}
        self._private: set[int] = set()
        self._segment = 0
        self._writer = _Writer(folder, patient)
        self.lines = 0
        """lines encoded, over all segments, without heads and ends"""
        self.unencodable = 0
        """events that could not be written"""
        self.add = self._waiting.append
        """hot path: `add((conn, t, wall, more, bytes))`, the same as `frame`"""
        self._begin_segment()

    @property
    def failure(self) -> str:
        """Why lines are being dropped, or ""."""
        return self._writer.failure

    def open(self, c: int, t: int, w: int, exchange: str, type: str, socket: str, url: str) -> None:
        """Introduce a connection; messages of private and trade sockets are redacted."""
        plain = without_query(url)
        self.add(Open(c=c, t=t, w=w, exchange=exchange, type=type, socket=socket, url=plain))
        if not socket.startswith(("public", "market")):
            self._private.add(c)

    def frame(self, c: int, t: int, w: int, more: bool, data: bytes) -> None:
        """Record a received message."""
        self.add((c, t, w, more, data))

    def out(self, c: int, t: int, w: int, data: bytes) -> None:
        """Record a sent message, redacted."""
        self.add(Out(c=c, t=t, w=w, d=redact(data.decode(errors="replace"))))

    def http(self, c: int, t: int, w: int, request: str, status: int, body: bytes) -> None:
        """Record a REST answer; `request` is method, path and query."""
        text = redact(body.decode(errors="replace"))
        self.add(Http(c=c, t=t, w=w, req=redact(request), status=status, d=text))

    def event(self, event: Event) -> None:
        """Record an event that came from no frame. It must not be changed afterwards."""
        self.add(event)

    def close(self, c: int, t: int, w: int, why: str = "") -> None:
        """Record the end of a connection."""
        self.add(Close(c=c, t=t, w=w, why=redact(why)))

    async def run(self) -> None:
        """Encode what waits, a slice at a time, until cancelled."""
        while True:
            more = self.encode()
            await asyncio.sleep(0 if more else _PUMP_S)

    def encode(self, most: int = SLICE) -> bool:
        """Encode up to `most` waiting lines; True when more wait."""
        waiting = self._waiting
        most = count = min(most, len(waiting))
        for _ in range(most):
            thing = waiting.popleft()
            try:
                self._buffer += self._encoded(thing)
            except (TypeError, ValueError):
                # A text that is no Unicode, say; the run goes on and its report tells the number.
                self.unencodable += 1
                count -= 1
        self.lines += count
        self._segment_lines += count
        self._end_frame_if_due()
        return bool(waiting)

    def finish(self) -> None:
        """Encode and write everything, end the segment, stop the thread. Safe to call twice."""
        if self._writer.stopped:
            return
        while self.encode(10_000):
            continue
        self._end_segment()
        self._writer.stop()

    def _encoded(self, thing: Frame | Line | Event) -> bytes:
        if isinstance(thing, tuple):
            return in_bytes(*thing, private=thing[0] in self._private)
        if isinstance(thing, Event):
            return event_bytes(thing)
        if isinstance(thing, Open):
            self._open[thing.c] = thing
        elif isinstance(thing, Close):
            self._open.pop(thing.c, None)
        return line_bytes(thing)

    def _end_frame_if_due(self) -> None:
        now = self._clock.mono()
        if len(self._buffer) >= FRAME_BYTES or now - self._buffer_since >= FRAME_NS:
            self._hand_over()
            if (
                self._segment_size >= self._segment_bytes
                or now - self._segment_since >= self._segment_ns
            ):
                self._end_segment()
                crash_point("segment_rotation")
                self._begin_segment()

    def _begin_segment(self) -> None:
        self._segment += 1
        self._segment_size = self._segment_lines = 0
        self._segment_since = self._buffer_since = self._clock.mono()
        about = self._about
        head = Head(
            run=about.run,
            seg=self._segment,
            wall=self._clock.wall(),
            mono=self._segment_since,
            runner=about.runner,
            source=about.source,
            strategy=msgspec.structs.replace(about.strategy, text=redact(about.strategy.text)),
            facts=about.facts,
        )
        self._writer.put(self._segment)
        for line in (head, *self._open.values()):
            self._buffer += line_bytes(line)
            self._segment_lines += 1

    def _end_segment(self) -> None:
        self._buffer += line_bytes(End(lines=self._segment_lines))
        self._hand_over()

    def _hand_over(self) -> None:
        if self._buffer:
            self._segment_size += len(self._buffer)
            self._writer.put(bytes(self._buffer))
            self._buffer.clear()
        self._buffer_since = self._clock.mono()


class _Writer:
    """The thread that compresses and writes; an int in its queue opens that segment."""

    def __init__(self, folder: Path, patient: bool) -> None:
        self._folder = folder
        self._patient = patient
        self._queue: queue.Queue[bytes | int | None] = queue.Queue(_MOST_QUEUED)
        self.failure = ""
        self.stopped = False
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, item: bytes | int) -> None:
        """Hand over lines, or the number of the segment that begins."""
        if self.failure:
            return
        try:
            self._queue.put(item, block=self._patient)
        except queue.Full:
            self.failure = f"{self._folder}: the disk is too slow for the recording"

    def stop(self) -> None:
        """Write what is queued and end the thread."""
        self.stopped = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress
        file: BinaryIO | None = None
        while (item := self._queue.get()) is not None:
            if self.failure:
                continue  # the queue is still emptied, so that nobody waits on it
            try:
                if isinstance(item, int):
                    if file is not None:
                        file.close()
                    file = _create(self._folder / f"{item:06d}{SUFFIX}")
                elif file is not None:
                    self._write(file, compress, item)
            except (OSError, zstandard.ZstdError, MemoryError) as error:
                self.failure = f"{self._folder}: {getattr(error, 'strerror', None) or error}"
        if file is not None:
            file.close()

    def _write(self, file: BinaryIO, compress: Callable[[bytes], bytes], lines: bytes) -> None:
        file.write(compress(lines))
        file.flush()


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
