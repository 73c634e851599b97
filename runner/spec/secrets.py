"""Find secrets that were written into the file (E0205), before anything else can show them.

A value under `auth`, under a key that names a secret, or that looks like an exchange's key, is
masked in every diagnostic of the file and in no message.
"""

from __future__ import annotations

import re

from runner.lang.diagnostics import Diagnostic, Findings, Mark
from runner.lang.nodes import Mapping, Node, Scalar, Sequence

_NAMES = re.compile(
    r"(?i)(?:api_?|private_?|access_?)?(?:secret|token|passw(?:or)?d|passphrase)(?:_?key)?\Z"
    r"|(?:api|private|access|secret)_?key\Z"
)
_LIKE_A_KEY = re.compile(
    r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[A-Za-z0-9+/_=-]{32,}\Z|AKIA[A-Z0-9]{12,}\Z"
)
_AUTH = re.compile(r"exchanges\.[^.]*\.auth\Z")
_KEY = re.compile(r"sources\.[^.]*\.key\Z")
_PEM = "-----BEGIN "


def mask_literals(node: Node, findings: Findings) -> None:
    """Report every literal secret below `node` and mark it bad."""
    _walk(node, "", False, findings, [])


def _walk(node: Node, path: str, secret: bool, findings: Findings, above: list[int]) -> None:
    if id(node) in above:
        return
    if isinstance(node, Scalar):
        if not node.bad and node.value is not None and (secret or _looks_like_one(node)):
            _report(node, path, findings)
    elif isinstance(node, Sequence):
        node.bad = node.bad or secret
        for i, item in enumerate(node.items):
            _walk(item, f"{path}.{i}", secret, findings, [*above, id(node)])
    else:
        for entry in node:
            name = entry.key.text
            inner = f"{path}.{name}".lstrip(".")
            if secret:
                hidden = name not in ("env", "file")
            else:
                within = bool(_AUTH.match(path))
                bare = bool(_AUTH.match(inner)) and not isinstance(entry.value, Mapping)
                secret_name = bool(_NAMES.match(name) or _KEY.match(inner))
                named = secret_name and isinstance(entry.value, Scalar)
                hidden = within or bare or named
            _walk(entry.value, inner, hidden, findings, [*above, id(node)])


def _looks_like_one(node: Scalar) -> bool:
    text = node.text
    return bool(_LIKE_A_KEY.match(text)) or _PEM in text


def _report(node: Scalar, path: str, findings: Findings) -> None:
    node.bad = True
    key = path.rsplit(".", 1)[-1]
    marks = _lines(node)
    findings.add(
        Diagnostic(
            "E0205",
            "a secret must be a reference, never a value",
            node.mark,
            "the file is shared; this is not shown again",
            path,
            help=(f"{key}: {{env: NAME}}   or   {key}: {{file: /run/secrets/name}}",),
            masked=marks,
        )
    )


def _lines(node: Scalar) -> tuple[Mark, ...]:
    """Return the places to mask: a value on several lines hides all of its lines."""
    rest = node.text.count("\n") + 1 if "\n" in node.text else 0
    more = (Mark(node.mark.line + i, 1, 10_000) for i in range(1, rest + 1))
    return (node.mark, *more)
