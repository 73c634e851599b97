"""Read YAML into nodes from libyaml's events, with a stack of our own.

Events, not `compose`: depth, aliases and size are bounded while reading, so that a hostile file is
refused after its first excess and never recursed into (R-67). Nothing is ever constructed from a
tag. A mistake is reported once; only text that is not YAML, and tabs, end the reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml._yaml import CParser

from runner.lang.diagnostics import Diagnostic, Findings, Mark, Related, Text
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.lang.scalars import Trap, read_plain

LARGEST_FILE = 1_048_576
DEEPEST = 50
MOST_NODES = 10_000
MOST_ALIASES = 100

_ODD_BREAK = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_TAB = re.compile("^ *\t", re.MULTILINE)
_TEMPLATE_HELP = "templates are files named `.yaml.j2`, rendered first; a parameter is `params.x`"
_TOO_MANY = f"more than {MOST_NODES} values, aliases counted as written out"
_MERGE_HELP = "write the keys out: with merges nobody sees which value wins"


class _Stop(Exception):
    """Ends the reading of a file; its diagnostic has been added."""


def decode(data: bytes, findings: Findings) -> str | None:
    """Return the text of a file; None after E0101 when it is not UTF-8 or too large."""
    if len(data) > LARGEST_FILE:
        findings.add(_e0101(Mark(1, 1, 2), f"the file is larger than {LARGEST_FILE} bytes"))
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        findings.add(_e0101(Mark(line, column, column + 1), "not UTF-8 text"))
        return None


def read(text: str, findings: Findings) -> Node | None:
    """Parse one YAML document; None after an error that ends the check of the file."""
    if len(text) > LARGEST_FILE:
        findings.add(_e0101(Mark(1, 1, 2), f"the file is larger than {LARGEST_FILE} bytes"))
        return None
    if not _plain_whitespace(text, findings):
        return None
    try:
        if _may_be_too_many(text):
            _count(text, findings)
        return _Reader(text, findings).document()
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        findings.add(_not_yaml(error))
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        findings.add(_unreadable(text, error))
    return None


def _may_be_too_many(text: str) -> bool:
    """Whether a text has enough separators for too many values; a strategy never has."""
    return sum(map(text.count, ",:-\n")) >= MOST_NODES


def _count(text: str, findings: Findings) -> None:
    """Stop at too many values before anything is built; what else is wrong is found later."""
    parser, count, depth = CParser(text), 0, 0
    try:
        while depth <= DEEPEST and parser.check_event():
            event = parser.get_event()
            kind = type(event)
            if kind is yaml.ScalarEvent or kind is yaml.AliasEvent:
                count += 1
            elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
                count, depth = count + 1, depth + 1
            elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
                depth -= 1
            if count > MOST_NODES:
                findings.add(_e0101(_mark(event), _TOO_MANY))
                raise _Stop
    except (yaml.YAMLError, UnicodeEncodeError):
        return


def _e0101(mark: Mark, message: str, label: str = "", *help: str) -> Diagnostic:
    return Diagnostic("E0101", message, mark, label, help=help)


def _not_yaml(error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or "not YAML"
    return _e0101(Mark(line, column, column + 1), f"not YAML: {problem}", error.context or "")


def _unreadable(text: str, error: Exception) -> Diagnostic:
    """Find the character libyaml refused (it names none that we could point at)."""
    for number, line in enumerate(text.split("\n"), 1):
        for column, c in enumerate(line, 1):
            if (
                (c < " " and c not in "\t\r")
                or "\ud800" <= c <= "\udfff"
                or c in "\x7f\ufffe\uffff"
            ):
                mark = Mark(number, column, column + 1)
                return _e0101(mark, f"a control character (U+{ord(c):04X}) is not YAML")
    return _e0101(Mark(1, 1, 2), "not YAML: unacceptable characters")


def _plain_whitespace(text: str, findings: Findings) -> bool:
    """Refuse what readers and editors count differently: odd line breaks, tabs in indentations."""
    odd = _ODD_BREAK.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - (text.rfind("\n", 0, odd.start()) + 1) + 1
        message = f"a line break (U+{ord(odd.group()):04X}) that most editors do not show"
        help = ("end lines with a line feed",)
        findings.add(Diagnostic("E0102", message, Mark(line, column, column + 1), help=help))
        return False
    tab = _TAB.search(text) if "\t" in text else None
    if tab is not None:
        line = text.count("\n", 0, tab.end()) + 1
        column = tab.end() - tab.start()
        mark = Mark(line, column, column + 1)
        help = ("indent with spaces",)
        findings.add(Diagnostic("E0102", "a tab in the indentation", mark, help=help))
        return False
    return True


@dataclass(slots=True)
class _Frame:
    """A collection that is being read; `key` waits for its value."""

    node: Sequence | Mapping
    anchor: str | None
    before: int
    key: Scalar | None = None
    key_end: int = 0
    last: Scalar | None = None


class _Reader:
    """Builds nodes from events with a stack of open collections."""

    def __init__(self, text: str, findings: Findings) -> None:
        self._text = text
        self._lines = text.split("\n")
        self._findings = findings
        self._parser = CParser(text)
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._aliases = 0
        self._count = 0
        self._root: Node | None = None

    def document(self) -> Node | None:
        parser = self._parser
        documents = 0
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(_mark(event), "more than one document in the file")
                if event.tags:
                    self._warp(_mark(event), "a %TAG directive", "custom tags are not accepted")
            elif isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
        if self._root is None:
            self._stop(Mark(1, 1, 2), "the file is empty")
        return self._root

    def _path(self, *more: str) -> str:
        """Return the dotted place of what is being read."""
        parts = []
        for frame in self._stack:
            if isinstance(frame.node, Sequence):
                parts.append(str(len(frame.node.items)))
            elif frame.key is not None:
                parts.append(frame.key.text[:60])
        return ".".join([*parts, *more])

    def _node(self, event: Any) -> None:
        self._count += 1
        if self._count > MOST_NODES:
            self._stop(_mark(event), _TOO_MANY)
        if isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            scalar = self._scalar(event)
            self._remember(event.anchor, scalar, 1)
            self._place(scalar, event)
        else:
            self._open(event)

    def _alias(self, event: Any) -> None:
        self._aliases += 1
        if self._aliases > MOST_ALIASES:
            self._stop(_mark(event), f"more than {MOST_ALIASES} aliases")
        if event.anchor not in self._anchors:
            self._stop(
                _mark(event), f"alias `*{event.anchor[:40]}` stands before or inside its anchor"
            )
        node, size = self._anchors[event.anchor]
        self._count += size
        if self._count > MOST_NODES:
            self._stop(_mark(event), _TOO_MANY)
        self._place(node, event)

    def _open(self, event: Any) -> None:
        if len(self._stack) >= DEEPEST:
            self._stop(_mark(event), f"nested deeper than {DEEPEST} levels")
        self._no_tag(event)
        mark = _mark(event)
        node: Sequence | Mapping
        if isinstance(event, yaml.MappingStartEvent):
            node = Mapping(mark, flow=bool(event.flow_style))
        else:
            node = Sequence(mark)
        self._key_must_be_text(node, event)
        self._stack.append(_Frame(node, event.anchor, self._count))

    def _key_must_be_text(self, node: Sequence | Mapping, event: Any) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is None or not isinstance(frame.node, Mapping) or frame.key is not None:
            return
        if isinstance(node, Mapping) and node.flow and frame.node.flow:
            message = "`{{` is not part of a strategy file"
            self._findings.add(Diagnostic("E0102", message, node.mark, help=(_TEMPLATE_HELP,)))
            raise _Stop
        self._findings.add(Diagnostic("E0203", "a key must be text", node.mark))
        raise _Stop

    def _close(self) -> None:
        frame = self._stack.pop()
        self._remember(frame.anchor, frame.node, self._count - frame.before + 1)
        self._place(frame.node, None)

    def _place(self, node: Node, event: Any) -> None:
        """Put a finished node where it belongs: the root, a list, a key or a value."""
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._findings.add(Diagnostic("E0203", "a key must be text", _mark(event)))
                raise _Stop
            frame.key, frame.key_end = self._key(node), event.end_mark.index if event else 0
        else:
            self._entry(frame, node, event)
            frame.key = None

    def _entry(self, frame: _Frame, node: Node, event: Any) -> None:
        assert isinstance(frame.node, Mapping) and frame.key is not None
        key = frame.key
        if frame.node.flow and self._split_by_comma(frame, node, event):
            return
        frame.last = node if isinstance(node, Scalar) else None
        earlier = frame.node.entries.pop(key.text, None)
        if earlier is not None:
            self._findings.add(
                Diagnostic(
                    "E0103",
                    f"key `{_short(key.text)}` appears twice in one mapping",
                    key.mark,
                    "second time",
                    self._path(),
                    related=(Related(earlier.key.mark, "first time"),),
                    notes=("plain YAML loaders keep the last one silently; here it is an error",),
                )
            )
        frame.node.entries[key.text] = Entry(key, node)

    def _split_by_comma(self, frame: _Frame, node: Node, event: Any) -> bool:
        """Report a key without colon inside `{...}`: a comma of a value made it (E0104)."""
        key = frame.key
        assert key is not None
        if not isinstance(node, Scalar) or node.text or node.quoted or event is None:
            return False
        if self._text[frame.key_end : event.start_mark.index].lstrip().startswith(":"):
            return False
        start = key.mark
        if frame.last is not None:
            if frame.last.bad:
                return True
            if frame.last.mark.line == key.mark.line:
                start = Mark(key.mark.line, frame.last.mark.column, key.mark.end)
            frame.last.bad = True
        self._findings.add(
            Diagnostic(
                "E0104",
                "a comma splits a value inside `{...}`",
                start,
                f"`{_short(key.text)}` became a key of its own",
                self._path(),
                help=("put the value in quotes, or write the mapping in block style",),
            )
        )
        return True

    def _key(self, key: Scalar) -> Scalar:
        if key.text == "<<" and not key.quoted:
            self._findings.add(
                Diagnostic(
                    "E0102",
                    "`<<` merges are not accepted",
                    key.mark,
                    path=self._path("<<"),
                    help=(_MERGE_HELP,),
                )
            )
            key.bad = True
        return key

    def _scalar(self, event: Any) -> Scalar:
        mark, quoted = self._whole(event), event.style not in (None, "")
        text: str = event.value
        scalar = Scalar(mark, text, text, quoted, self._source(event, mark, quoted))
        if event.tag is not None:
            scalar.bad = True
            self._no_tag(event)
        elif not quoted:
            value = read_plain(text)
            if isinstance(value, Trap):
                scalar.bad = True
                help = (value.help,)
                found = Diagnostic("E0102", value.what, mark, path=self._path(), help=help)
                self._findings.add(found)
            else:
                scalar.value = value
        if "{{" in text or "{%" in text:
            message = "`{{` is not part of a strategy file"
            found = Diagnostic("E0102", message, mark, path=self._path(), help=(_TEMPLATE_HELP,))
            self._findings.add(found)
            scalar.bad = True
        return scalar

    def _whole(self, event: Any) -> Mark:
        """Return the place of a scalar; of one on several lines, what stands on the first."""
        mark = _mark(event)
        if event.start_mark.line == event.end_mark.line:
            return mark
        line = self._lines[mark.line - 1].rstrip()
        return Mark(mark.line, mark.column, max(len(line), mark.column) + 1)

    def _source(self, event: Any, mark: Mark, quoted: bool) -> Text:
        """Decide whether a caret may point inside: text and file agree character by character."""
        raw = self._text[event.start_mark.index : event.end_mark.index]
        if not quoted and raw == event.value:
            return Text(event.value, mark)
        if event.style in ("'", '"') and raw[1:-1] == event.value:
            return Text(event.value, Mark(mark.line, mark.column + 1, mark.end - 1))
        return Text(event.value, mark, exact=False)

    def _no_tag(self, event: Any) -> None:
        if event.tag is not None:
            self._warp(
                _mark(event), f"a tag (`{event.tag[:40]}`)", "remove it: a place has one type"
            )

    def _warp(self, mark: Mark, what: str, help: str) -> None:
        message = f"{what} is not accepted"
        self._findings.add(Diagnostic("E0102", message, mark, path=self._path(), help=(help,)))

    def _remember(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size)

    def _stop(self, mark: Mark, message: str) -> None:
        self._findings.add(_e0101(mark, message))
        raise _Stop


def _mark(event: Any) -> Mark:
    """Return where an event stands; of several lines, the first character only."""
    start, end = event.start_mark, event.end_mark
    column = start.column + 1
    last = end.column + 1 if end.line == start.line else column + 1
    return Mark(start.line + 1, column, max(last, column + 1))


def _short(text: str) -> str:
    """Cut a text from the file to what a message can hold."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:57] + "..."
