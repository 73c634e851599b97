"""Results as JUnit XML, which build servers read: one suite a file, one case a test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from runner.app.trial.suite import Result
from runner.app.trial.text import result_text
from runner.base.errors import WorldError

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, results: Sequence[Result], broken: Mapping[str, str] | None = None) -> None:
    """Write results to a file; WorldError when that cannot be.

    broken: by file, the first mistake of those that do not validate.
    """
    try:
        path.write_bytes(as_junit(results, broken or {}))
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror or error}") from None


def as_junit(results: Sequence[Result], broken: Mapping[str, str]) -> bytes:
    """Return the XML of results. Times are real seconds; the virtual ones are a property."""
    root = Element("testsuites", _counts(results, len(broken)))
    for file in dict.fromkeys(result.file for result in results):
        own = [result for result in results if result.file == file]
        suite = SubElement(root, "testsuite", {"name": file, **_counts(own)})
        for result in own:
            _case(suite, result)
    for file, mistake in broken.items():
        suite = SubElement(root, "testsuite", {"name": file, **_counts([], 1)})
        case = SubElement(suite, "testcase", {"classname": file, "name": "validates"})
        SubElement(case, "error", {"message": _clean(mistake)})
    indent(root)
    body: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _counts(results: Sequence[Result], broken: int = 0) -> dict[str, str]:
    return {
        "tests": str(len(results) + broken),
        "failures": str(sum(not r.passed and r.outcome is not None for r in results)),
        "errors": str(sum(r.outcome is None for r in results) + broken),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _case(suite: Element, result: Result) -> None:
    case = SubElement(
        suite,
        "testcase",
        {
            "classname": result.strategy,
            "name": _clean(result.trial.name),
            "file": result.file,
            "line": str(result.trial.line),
            "time": f"{result.seconds:.3f}",
        },
    )
    if result.outcome is None:
        SubElement(case, "error", {"message": _clean(result.fault)})
        return
    properties = SubElement(case, "properties")
    virtual = f"{result.outcome.virtual_ns / 1e9:g}"
    SubElement(properties, "property", {"name": "virtual_seconds", "value": virtual})
    mismatch = result.outcome.mismatch
    if mismatch is not None:
        message = f"expected {mismatch.expected}, got {mismatch.got}"
        failure = SubElement(case, "failure", {"message": _clean(message), "type": "expectation"})
        failure.text = _clean(result_text(result))


def _clean(text: str) -> str:
    """Leave out what XML cannot hold."""
    return _NOT_XML.sub("", text)
