"""Captures of others as recordings: hftbacktest's text lines, cryptofeed's raw data collections.

hftbacktest: `<receive time> <frame>` a line, gzipped or not; 16 digits are us, 19 are ns. A line
with `lastUpdateId` and no `stream` is the REST snapshot of the book.
cryptofeed: version 3 (`*.jsonl.zst`, objects with `t`, `conn`, `ts`, `data`) and version 1 (text).
Both group lines by connection, so they are sorted by their time stamps here.

An import has no monotonic clock of its own: `t` counts from the first line, and never goes back.
"""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import zstandard

from runner.base.clock import VirtualClock
from runner.base.errors import FileError
from runner.net.doors import without_query
from runner.store.recorder import SLICE, About, Recorder

_REST: Final = {
    "binance_usdm": ("https://fapi.binance.com", "/fapi/v1/depth"),
    "binance_spot": ("https://api.binance.com", "/api/v3/depth"),
    "binance_coinm": ("https://dapi.binance.com", "/dapi/v1/depth"),
}
"""type -> where the snapshot of a capture comes from"""
_STREAMS: Final = {
    "binance_usdm": "wss://fstream.binance.com/stream",
    "binance_spot": "wss://stream.binance.com/stream",
    "binance_coinm": "wss://dstream.binance.com/stream",
}
_VENUES: Final = (
    ("fstream.binance.com", "binance_usdm"),
    ("fapi.binance.com", "binance_usdm"),
    ("dstream.binance.com", "binance_coinm"),
    ("dapi.binance.com", "binance_coinm"),
    (".binance.com", "binance_spot"),
    (".okex.com", "okx"),
    (".okx.com", "okx"),
    (".bitget.com", "bitget"),
)
_STAMPED: Final = re.compile(r"(\d{16}|\d{19}) +(.+)")
_COMBINED: Final = re.compile(r'\{"stream": ?"([^"@]+)')
_HEAD: Final = 2000
"""lines by which a capture is known; less than a minute of a quiet market"""
_V1_FRAME: Final = re.compile(r"(\d+\.?\d*): (.*)")
_V1_CONNECT: Final = re.compile(r"(wss?://.*) <-> (\d+\.?\d*)")
_V1_SENT: Final = re.compile(r"(wss?://.*?) <- (\d+\.?\d*): (.*)")
_V1_ANSWER: Final = re.compile(r"(https?://.*?) -> (\d+\.?\d*): (.*)")
_UNREADABLE: Final = (OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeDecodeError)


@dataclass(slots=True)
class Imported:
    """What an import wrote. `skipped` counts lines that are no traffic (headers, settings)."""

    source: Path
    target: Path
    frames: int = 0
    answers: int = 0
    sent: int = 0
    connections: int = 0
    skipped: int = 0
    first_wall: int = 0
    last_wall: int = 0
    types: list[str] = field(default_factory=list)


class _Line(msgspec.Struct):
    """A line of cryptofeed's version 3."""

    t: str
    ts: float = 0.0
    conn: str = ""
    addr: str = ""
    url: str = ""
    data: str = ""
    b64: bool | str = False


@dataclass(frozen=True, slots=True)
class _Traffic:
    """One thing that happened, whatever format told it. `kind`: connect, sent, frame or answer."""

    wall: int
    kind: str
    conn: str
    url: str = ""
    data: bytes = b""


def import_hftbacktest(source: Path, type: str, symbol: str, target: Path) -> Imported:
    """Write the recording `target` (a new folder) from one capture file.

    FileError for a source that is not in the format, or of another type or symbol, or a type
    without a known snapshot; WorldError when `target` cannot be written or holds a recording.
    """
    if type not in _REST:
        raise FileError(f"cannot import {type!r}: known are {', '.join(sorted(_REST))}")
    symbol = symbol.upper()
    _know(source, type, symbol)
    host, path = _REST[type]
    answer_url = f"{host}{path}?symbol={symbol}&limit=1000"

    def traffic() -> Iterator[_Traffic]:
        for number, (stamp, frame) in enumerate(_stamped(source), 1):
            if number == 1:
                yield _Traffic(stamp, "connect", "ws", _STREAMS[type])
            snapshot = '"stream"' not in frame and '"lastUpdateId"' in frame
            kind, url = ("answer", answer_url) if snapshot else ("frame", "")
            yield _Traffic(stamp, kind, "ws", url, frame.encode())

    return _write(source, target, "import:hftbacktest", traffic(), Imported(source, target))


def _stamped(source: Path) -> Iterator[tuple[int, str]]:
    """Yield receive times in ns and frames of hftbacktest's lines."""
    for number, text in enumerate(_texts(source), 1):
        match = _STAMPED.fullmatch(text)
        if match is None:
            raise FileError(f"{source}:{number}: no receive time of 16 or 19 digits and frame")
        yield int(match[1]) * (1000 if len(match[1]) == 16 else 1), match[2]


def _know(source: Path, type: str, symbol: str) -> None:
    """Refuse a capture that is not what it is said to be: a replay would believe it.

    It is known by the names of its streams and by the shape of its first change of a book.
    """
    names: dict[str, None] = {}
    shown = ""
    head = [frame for _, frame in itertools.islice(_stamped(source), _HEAD)]
    for frame in head:
        if match := _COMBINED.match(frame):
            names[match[1].upper()] = None
        if not shown and '"depthUpdate"' in frame:
            future = "binance_coinm" if '"ps":' in frame else "binance_usdm"
            shown = future if '"pu":' in frame else "binance_spot"
    if not head:
        raise FileError(f"{source} holds no line")
    if not names:
        raise FileError(f"{source}: no line is a frame of Binance's combined streams")
    if symbol not in names:
        raise FileError(f"{source} holds {', '.join(names)}, not {symbol}: see --symbol")
    if shown and shown != type:
        raise FileError(f"{source} is of {shown}, not of {type}: see --exchange")


def import_cryptofeed(source: Path, target: Path) -> Imported:
    """Write the recording `target` from one raw data collection (`.jsonl.zst`, `.txt`, `.gz`).

    FileError for a source that is not in the format, WorldError when `target` cannot be written.
    """
    done = Imported(source, target)
    newer = ".jsonl" in source.name
    traffic = list(_version_3(source, done) if newer else _version_1(source, done))
    # Stable: what one connection received within one microsecond stays in order.
    traffic.sort(key=lambda each: each.wall)
    return _write(source, target, "import:cryptofeed", traffic, done)


def venue_of(url: str) -> str:
    """Return the adapter type that a URL of a capture belongs to; the host's name if unknown."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.endswith((".bybit.com", ".bytick.com")):
        category = parse_qs(parts.query).get("category", [parts.path.rsplit("/", 1)[-1]])[0]
        return f"bybit_{category}"
    return next((type for tail, type in _VENUES if f".{host}".endswith(tail)), host)


def _version_3(source: Path, done: Imported) -> Iterator[_Traffic]:
    decode = msgspec.json.Decoder(_Line).decode
    kinds = {"connect": "connect", "send": "sent", "recv": "frame", "http": "answer"}
    for number, text in enumerate(_texts(source), 1):
        try:
            line = decode(text)
        except ValueError as error:
            raise FileError(f"{source}:{number}: {error}") from error
        if line.t not in kinds:
            done.skipped += 1
            continue
        data = base64.b64decode(line.data) if line.b64 else line.data.encode()
        if isinstance(line.b64, str):
            data = base64.b64decode(line.b64)
        yield _Traffic(_ns(line.ts), kinds[line.t], line.conn, line.addr or line.url, data)


def _version_1(source: Path, done: Imported) -> Iterator[_Traffic]:
    address = ""
    for number, text in enumerate(_texts(source), 1):
        if match := _V1_FRAME.fullmatch(text):
            yield _Traffic(_ns(float(match[1])), "frame", address, "", match[2].encode())
        elif match := _V1_CONNECT.fullmatch(text):
            address = match[1]
            yield _Traffic(_ns(float(match[2])), "connect", address, address)
        elif match := _V1_SENT.fullmatch(text):
            yield _Traffic(_ns(float(match[2])), "sent", match[1], match[1], match[3].encode())
        elif match := _V1_ANSWER.fullmatch(text):
            yield _Traffic(_ns(float(match[2])), "answer", "rest", match[1], match[3].encode())
        elif text.startswith("configuration:"):
            done.skipped += 1
        else:
            raise FileError(f"{source}:{number}: no line of cryptofeed's raw data")


def _write(
    source: Path, target: Path, kind: str, traffic: Iterable[_Traffic], done: Imported
) -> Imported:
    sink: _Sink | None = None
    try:
        for each in traffic:
            if sink is None:
                sink = _Sink(target, kind, each.wall, done)
            sink.add(each)
    finally:
        if sink is not None:
            sink.recorder.finish()
    if sink is None:
        raise FileError(f"{source} holds no line")
    if sink.recorder.failure:
        raise FileError(f"the import is not whole: {sink.recorder.failure}")
    return done


class _Sink:
    """Numbers connections and drives a recorder in the capture's own time."""

    def __init__(self, target: Path, kind: str, first: int, done: Imported) -> None:
        self._clock = VirtualClock(mono=0, wall=first)
        self._first = first
        self._done = done
        self._connections: dict[str, int] = {}
        self._next = 1
        self._waiting = 0
        about = About(run=f"import-{first // 1_000_000_000}", runner="", source=kind)
        self.recorder = Recorder(target, about, self._clock, patient=True)
        done.first_wall = first

    def add(self, each: _Traffic) -> None:
        """Write one thing at its own time."""
        t = max(self._clock.mono(), each.wall - self._first)
        self._clock.set(t)
        done, recorder = self._done, self.recorder
        done.last_wall = max(done.last_wall, each.wall)
        if each.kind == "connect":
            self._open(each.conn, each.url, "public", t, each.wall)
        elif each.kind == "frame":
            c = self._connection(each, "public", t)
            recorder.frame(c, t, each.wall, False, each.data)
            done.frames += 1
        elif each.kind == "sent":
            c = self._connection(each, "public", t)
            recorder.out(c, t, each.wall, each.data)
            done.sent += 1
        else:
            parts = urlsplit(each.url)
            c = self._rest(each, t)
            request = f"GET {parts.path}?{parts.query}" if parts.query else f"GET {parts.path}"
            recorder.http(c, t, each.wall, request, 200, each.data)
            done.answers += 1
        self._waiting += 1
        if self._waiting == SLICE:
            recorder.encode(SLICE * 4)
            self._waiting = 0

    def _connection(self, each: _Traffic, socket: str, t: int) -> int:
        if each.conn not in self._connections:
            self._open(each.conn, each.url, socket, t, each.wall)
        return self._connections[each.conn]

    def _rest(self, each: _Traffic, t: int) -> int:
        name = f"rest {venue_of(each.url)}"
        if name not in self._connections:
            base = "{0.scheme}://{0.netloc}".format(urlsplit(each.url))
            self._open(name, base, "rest", t, each.wall, venue_of(each.url))
        return self._connections[name]

    def _open(
        self, conn: str, url: str, socket: str, t: int, wall: int, venue: str | None = None
    ) -> None:
        if conn in self._connections:
            self.recorder.close(self._connections[conn], t, wall, "connected anew")
        type = venue or venue_of(url)
        self._connections[conn] = c = self._next
        self._next += 1
        self._done.connections += 1
        if type not in self._done.types:
            self._done.types.append(type)
        self.recorder.open(c, t, wall, type, type, socket, without_query(url))


def _ns(seconds: float) -> int:
    """Seconds as a float carry microseconds."""
    return round(seconds * 1e6) * 1000


def _texts(source: Path) -> Iterator[str]:
    """Yield lines without their ends, decompressed by the file's name."""
    try:
        with _opened(source) as texts:
            for line in texts:
                if text := line.rstrip("\r\n"):
                    yield text
    except _UNREADABLE as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise FileError(f"cannot read {source}: {why}") from error


def _opened(source: Path) -> io.TextIOWrapper:
    if source.suffix == ".gz":
        return gzip.open(source, "rt", encoding="utf-8", newline="\n")
    if source.suffix == ".zst":
        decompress = zstandard.ZstdDecompressor()
        raw = decompress.stream_reader(source.open("rb"), read_across_frames=True, closefd=True)
        return io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", newline="\n")
    return source.open(encoding="utf-8", newline="\n")
