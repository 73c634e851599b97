"""Writers of diagnostics: text with carets, JSON, SARIF, CI annotations; secrets masked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from runner.lang import render
from runner.lang.diagnostics import Diagnostic, Findings, Mark, Related
from runner.lang.render import Source


@dataclass
class File:
    source: Source
    findings: Findings = field(default_factory=Findings)


def file(text: str, *found: Diagnostic) -> File:
    made = File(Source("f.yaml", text))
    for d in found:
        made.findings.add(d)
    return made


SPOT = Diagnostic(
    "E0403",
    "rule `b` would leave",
    Mark(5, 3, 6),
    "true here too",
    "rules.b.until",
    (Related(Mark(2, 1, 4), "enters here"),),
    ("a note",),
    ("a help",),
)


def test_lines_apart_are_joined_by_dots_and_the_gutter_is_as_wide_as_the_number() -> None:
    text = "one\ntwo\nthree\nfour\n  five\n"
    assert render.as_text(file(text, SPOT)) == (
        "error[E0403]: rule `b` would leave\n"
        " --> f.yaml:5:3\n"
        "  |\n"
        "2 | two\n"
        "  | --- enters here\n"
        " ...\n"
        "5 |   five\n"
        "  |   ^^^ true here too\n"
        "  |\n"
        "  = note: a note\n"
        "  = help: a help\n"
        "\n"
        "f.yaml: 1 error\n"
    )


def test_two_marks_on_one_line_show_it_once() -> None:
    related = (Related(Mark(1, 1, 2), "first"),)
    text = render.as_text(file("a a", Diagnostic("E1", "m", Mark(1, 3, 4), "second", "", related)))
    assert text.count("1 | a a") == 1
    assert text.index("- first") < text.index("^ second")


def test_findings_of_one_cause_are_one_with_a_count() -> None:
    same = [Diagnostic("E0501", "small", Mark(n, 1, 2), cause="c") for n in (3, 1, 2)]
    shown = render.settle(file("", *same).findings)
    assert [(d.mark.line, d.more_places) for d in shown] == [(1, 2)]
    assert "small (and 2 more places)" in render.as_text(file("a\nb\nc", *same))


def test_a_clean_file_writes_nothing() -> None:
    assert render.as_text(file("a: 1")) == ""


def test_the_json_form_is_the_documented_one() -> None:
    body = json.loads(render.as_json([file("x", SPOT)]))
    assert {k: body[k] for k in ("format", "file", "errors", "warnings")} == {
        "format": "1.0",
        "file": "f.yaml",
        "errors": 1,
        "warnings": 0,
    }
    assert body["diagnostics"] == [
        {
            "code": "E0403",
            "severity": "error",
            "message": "rule `b` would leave",
            "label": "true here too",
            "line": 5,
            "column": 3,
            "end_column": 6,
            "path": "rules.b.until",
            "related": [{"line": 2, "column": 1, "message": "enters here"}],
            "notes": ["a note"],
            "help": ["a help"],
            "docs": "runner explain E0403",
        }
    ]


def test_several_files_are_one_object_with_sums() -> None:
    body = json.loads(render.as_json([file("x", SPOT), file("y")]))
    assert (body["errors"], len(body["files"])) == (1, 2)


def test_sarif_names_rule_place_and_related_place() -> None:
    run = json.loads(render.as_sarif([file("x", SPOT)], "0.1"))["runs"][0]
    (result,) = run["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert (result["ruleId"], result["level"]) == ("E0403", "error")
    assert region == {"startLine": 5, "startColumn": 3, "endColumn": 6}
    assert result["relatedLocations"][0]["message"]["text"] == "enters here"


def test_annotations_escape_what_would_end_them() -> None:
    line = render.as_github([file("x", Diagnostic("W0409", "50%\nnext", Mark(1, 2, 3)))])
    assert line == "::warning file=f.yaml,line=1,col=2,endColumn=3,title=W0409::50%25%0Anext\n"


def test_colour_is_only_added_never_needed() -> None:
    plain, coloured = (render.as_text(file("x", SPOT), c) for c in (False, True))
    assert "\x1b[" not in plain and "\x1b[1;31m" in coloured


def test_a_masked_place_is_masked_in_every_diagnostic_of_the_file() -> None:
    secret = Diagnostic("E0205", "secret", Mark(1, 6, 11), masked=(Mark(1, 6, 11),))
    other = Diagnostic("E0201", "other", Mark(1, 1, 5))
    text = render.as_text(file("kkkk: abcde", secret, other))
    assert "abcde" not in text and text.count("kkkk:*****") + text.count("kkkk: ****") == 2


def test_a_value_beside_a_secret_key_is_masked_even_when_the_file_could_not_be_read() -> None:
    text = "  auth: {key: {env: K}, secret: hunter2}"
    shown = render.as_text(file(text, Diagnostic("E0101", "not YAML", Mark(1, 1, 2))))
    assert "hunter2" not in shown and "{env: K}" in shown


def test_the_key_of_an_order_is_no_secret_and_is_shown() -> None:
    text = '  key: "{rule}-{fortnight}", other: {key: "weekly-{week}"}, key: hunter2'
    shown = render.as_text(file(text, Diagnostic("E0203", "no field", Mark(1, 8, 28))))
    assert '"{rule}-{fortnight}"' in shown and '"weekly-{week}"' in shown
    assert "hunter2" not in shown


def test_a_very_long_line_is_cut_around_the_mark() -> None:
    line = "x" * 500_000 + "HERE" + "y" * 500_000
    found = Diagnostic("E0201", "m", Mark(1, 500_001, 500_005))
    text = render.as_text(file(line, found))
    assert len(text) < 1_500 and "HERE" in text
    source, carets = (row for row in text.split("\n") if row.startswith(("1 |", "  |  ")))
    assert source.index("HERE") == carets.index("^^^^")


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    text = render.as_text(file("a\x1b[2Jb", Diagnostic("E0101", "m", Mark(1, 1, 2))))
    assert "\x1b" not in text
