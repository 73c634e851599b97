"""The inside of a template's rendering: one process for one template, and nothing else in it.

Run as a script, isolated (`python -I`), without environment variables, with the template on its
standard input and the result on its standard output, both JSON. It can be killed at any moment: the
kernel does so after 50 ms of computing, inside of Jinja or not. It imports nothing of ours.

The sandbox is narrower than Jinja's own: no loader, no attributes but those of mappings and of a
loop, no callables but `range`, macros and a mapping's items, few filters, no operator that makes
long texts of short ones. The context holds texts only.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_SOURCE = 4096
LONGEST_TEXT = 65_536
MOST_TURNS = 1000
SECONDS = 0.05
MEMORY = 384 * 1024 * 1024

_FILTERS = (
    "abs batch default first float int join last length list lower max min replace reverse round"
    " slice sort sum trim unique upper"
).split()
_LOOP = frozenset({"index", "index0", "revindex", "first", "last", "length"})
_ITEMS = frozenset({"items", "keys", "values"})
_MARK = re.compile("\x02(\\d+)\x03")


def numbers(*args: int) -> range:
    """The `range` of templates: at most 1000 turns."""
    found = range(*args)
    if len(found) > MOST_TURNS:
        raise SecurityError(f"a range of more than {MOST_TURNS}")
    return found


def shown(value: Any) -> Any:
    """Write texts and numbers only; what is undefined says so by itself."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Undefined):
        return str(value)
    raise SecurityError(f"a {type(value).__name__} cannot be written")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with next to nothing in it."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, keep_trailing_newline=True, cache_size=0, finalize=shown
        )
        self.globals = {"range": numbers}
        self.filters = {name: self.filters[name] for name in _FILTERS}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow a mapping's items and what a loop counts."""
        if isinstance(obj, LoopContext):
            return attr in _LOOP
        return type(obj) is dict and attr in _ITEMS

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow `range`, macros and a mapping's items."""
        mapping = type(getattr(obj, "__self__", None)) is dict and obj.__name__ in _ITEMS
        return obj is numbers or isinstance(obj, Macro) or mapping

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiply and take remainders of numbers only."""
        if operator == "**":
            raise SecurityError("`**` is not there in a template: multiply")
        plain = all(isinstance(x, int | float) and abs(x) < 1e15 for x in (left, right))
        if not plain:
            raise SecurityError(f"`{operator}` is for numbers here")
        return super().call_binop(context, operator, left, right)


def marked(sandbox: Sandbox, source: str) -> str:
    """Return the template with each line's number at the end of the text of that line."""
    parts = []
    for line, kind, value in sandbox.lex(source):
        if kind == "data":
            pieces = value.split("\n")
            ends = (f"{piece}\x02{line + i}\x03\n" for i, piece in enumerate(pieces[:-1]))
            value = "".join(ends) + pieces[-1]
        parts.append(value)
    return "".join(parts)


def places(text: str) -> tuple[str, list[int]]:
    """Take the marks out of a rendered text; return it, and the template's line of each line."""
    lines, numbers_ = [], []
    for line in text.split("\n"):
        found = _MARK.findall(line)
        lines.append(_MARK.sub("", line))
        numbers_.append(int(found[-1]) if found else 0)
    after = 0
    for i in range(len(numbers_) - 1, -1, -1):
        after = numbers_[i] = numbers_[i] or after
    last = max(numbers_, default=0)
    return "\n".join(lines), [number or last + 1 for number in numbers_]


def render(source: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return {"text", "lines"}, or {"error", "line"} (0: not known)."""
    sandbox = Sandbox()
    context = {"given": dict(given)}
    try:
        text = sandbox.from_string(source).render(context)
        if len(text.encode()) > LONGEST_TEXT:
            return {"error": f"the result is longer than {LONGEST_TEXT} bytes", "line": 0}
        again, lines = places(sandbox.from_string(marked(sandbox, source)).render(context))
    except TemplateError as error:
        line = getattr(error, "lineno", None) or _line(error)
        return {"error": f"{type(error).__name__}: {error.message}"[:300], "line": line}
    except (MemoryError, RecursionError) as error:
        return {"error": f"the template is too much: {type(error).__name__}", "line": 0}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300], "line": _line(error)}
    return {"text": text, "lines": lines if again == text else []}


def _line(error: BaseException) -> int:
    """Return the template's line at which an error came up."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def main() -> None:
    """Render what stands on standard input, within the limits."""
    asked = json.loads(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    answer = render(asked["source"], asked["given"])
    signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
