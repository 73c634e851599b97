"""Values as a reader of traces wants them: 31.3bps, 12ms, 500 USDT, missing."""

from __future__ import annotations

from runner.base.units import format_ratio
from runner.lang.types import BARS, DURATION, Type, unit_of

_LARGE = 1e5


def show(value: float | str | bool | None, type_: Type) -> str:
    """Write a value with the unit of its type."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if type_.is_ratio:
        return format_ratio(value)
    if type_.dims == DURATION.dims:
        return _seconds(value)
    unit = unit_of(type_)
    if not unit and abs(value) < _LARGE:
        return f"{value:.6g}"  # a z-score, an imbalance: nobody reads ten digits of it
    text = f"{value:.10g}"
    if not unit or type_.is_price:
        return text
    return f"{text}{unit}" if unit == BARS else f"{text} {unit}"


def _seconds(value: float) -> str:
    """Write a duration with the unit that leaves it readable."""
    size = abs(value)
    for limit, scale, unit in (
        (1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "m"),
        (172_800.0, 1 / 3600, "h"),
    ):  # fmt: skip
        if size < limit:
            return f"{value * scale:.4g}{unit}"
    return f"{value / 86_400:.4g}d"
