"""The lines of a recording: their shape, and how each is written.

One JSON object a line; `k` tells the kind. `t` is monotonic ns since the run's start, `w` wall ns,
`c` the number of a connection that an `open` line has introduced; REST answers stand on a
connection with the socket name `rest`. The text of a frame is kept as it came.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from runner.base.secret import redact
from runner.engine.events import AnyEvent, Event

VERSION: Final = 1
UNSTAMPED: Final = -1
"""`t` of a line that carries none"""


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """The file that was run, whole, so that the run can be decided again."""

    name: str = ""
    sha: str = ""
    text: str = ""
    set: dict[str, str] = {}


class Line(msgspec.Struct, tag_field="k", kw_only=True):
    """Base of all lines."""

    t: int = UNSTAMPED
    w: int = 0


class Head(Line, tag="head", kw_only=True):
    """First line of each segment. `wall` and `mono` were read at the same instant."""

    run: str
    seg: int
    wall: int
    mono: int
    runner: str
    source: str
    """live, sim, import:hftbacktest, import:cryptofeed"""
    v: int = VERSION
    strategy: Strategy = Strategy()
    facts: dict[str, Any] = {}


class Open(Line, tag="open", kw_only=True):
    """A connection came up. `type` is the exchange's adapter, `url` has no query."""

    c: int
    exchange: str
    type: str
    socket: str
    url: str


class In(Line, tag="in", kw_only=True, gc=False):
    """A message received; `m` 1: newer ones waited behind it. `b` (base64) where it is no text."""

    c: int
    m: int = 0
    d: str = ""
    b: str = ""

    @property
    def payload(self) -> bytes:
        """The message's bytes."""
        return base64.b64decode(self.b) if self.b else self.d.encode()


class Out(Line, tag="out", kw_only=True, gc=False):
    """A message sent, redacted."""

    c: int
    d: str = ""


class Http(Line, tag="http", kw_only=True):
    """A REST answer. `req` is method, path and query, redacted."""

    c: int
    req: str
    status: int
    d: str


class Ev(Line, tag="ev", kw_only=True):
    """An event that came from no frame; `event()` decodes it."""

    e: msgspec.Raw

    def event(self) -> Event:
        """Return the event; msgspec.DecodeError when this version does not know it."""
        event: Event = _decode_event(self.e)
        return event


class Close(Line, tag="close", kw_only=True):
    """A connection ended."""

    c: int
    why: str = ""


class End(Line, tag="end", kw_only=True):
    """Last line of a whole segment; `lines` counts those before it."""

    lines: int


AnyLine = Head | Open | In | Out | Http | Ev | Close | End

_decode_event: Final = msgspec.json.Decoder(AnyEvent).decode
_encode: Final = msgspec.json.Encoder().encode


def line_bytes(line: Line) -> bytes:
    """Encode any line with its newline."""
    return _encode(line) + b"\n"


def in_bytes(c: int, t: int, w: int, more: bool, data: bytes, private: bool = False) -> bytes:
    """Encode a received message; the hot one of the encoders. Private ones are redacted."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return b'{"k":"in","c":%d,"t":%d,"w":%d,"m":%d,"b":"%b"}\n' % (
            *(c, t, w, more),
            base64.b64encode(data),
        )
    if private:
        text = redact(text)
    return b'{"k":"in","c":%d,"t":%d,"w":%d,"m":%d,"d":%b}\n' % (c, t, w, more, _encode(text))


def event_bytes(event: Event) -> bytes:
    """Encode an event that came from no frame."""
    body = redact(_encode(event).decode()).encode()
    return b'{"k":"ev","t":%d,"w":%d,"e":%b}\n' % (event.t, event.wall, body)
