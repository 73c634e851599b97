"""The compact notation of series: what it means, and where a mistake in it stands."""

from __future__ import annotations

import math

import pytest

from runner.spec.series import LONGEST, BadSeries, Units, parse, units_of_ratio

PRICE = Units({}, True, "`60_120`")
RATIO = Units(units_of_ratio(), False, "`1bps`")


def values(text: str, units: Units = PRICE) -> list[float | str]:
    named = {True: "_", False: ""}
    return [
        named[True] if math.isnan(v) else "stale" if math.isinf(v) else v
        for v in parse(text, units).values()
    ]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("60_120", [60_120.0]),
        ("60_120x3", [60_120.0] * 3),
        ("1+1x4", [1.0, 2.0, 3.0, 4.0]),
        ("1-0.1x3", [1.0, 0.9, 0.8]),
        ("60_000.1+0.1x3", [60_000.1, 60_000.2, 60_000.3]),
        ("5 _x2 6", [5.0, "_", "_", 6.0]),
        ("5 stale 6", [5.0, "stale", 6.0]),
        ("(1 2)x2 3", [1.0, 2.0, 1.0, 2.0, 3.0]),
        ("((1x2 2)x2 3)x2", [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0] * 2),
        ("  7 x 2  8", [7.0, 7.0, 8.0]),
        ("-1e-3x2", [-0.001, -0.001]),
    ],
)
def test_a_text_means(text: str, meant: list[float | str]) -> None:
    assert values(text) == meant
    assert parse(text, PRICE).count == len(meant)


def test_units_are_those_of_the_field() -> None:
    assert values("1bpsx2 0.02% 0", RATIO) == [0.0001, 0.0001, 0.0002, 0.0]
    assert values("1bps+1bpsx3", RATIO) == [0.0001, 0.0002, 0.0003]


@pytest.mark.parametrize(
    ("text", "code", "start", "end"),
    [
        ("60_000x2 6O_000", "E0302", 9, 15),
        ("1 2)", "E0302", 3, 4),
        ("(1 2", "E0302", 0, 1),
        ("1 ()", "E0302", 3, 4),
        ("x4", "E0302", 0, 2),
        ("5x0", "E0203", 0, 3),
        ("  ", "E0203", 0, 2),
        ("1bps", "E0303", 0, 4),
        (f"1 2x{LONGEST}", "E0203", 2, 10),
        ("(1x100)x100000", "E0203", 6, 14),
    ],
)
def test_a_mistake_has_a_code_and_a_place(text: str, code: str, start: int, end: int) -> None:
    with pytest.raises(BadSeries) as caught:
        parse(text, PRICE)
    assert (caught.value.code, caught.value.start, caught.value.end) == (code, start, end)


def test_a_ratio_without_unit_is_refused() -> None:
    with pytest.raises(BadSeries, match="needs a unit"):
        parse("0.0001", RATIO)


def test_a_hostile_text_ends_soon() -> None:
    for text in ("(" * 100_000, "1 " * 100_000 + "(", "(((((((1x9)x9)x9)x9)x9)x9)x9)x9)"):
        with pytest.raises(BadSeries):
            parse(text, PRICE)
