"""`runner bench`: runs what was asked for and shows the figures, as a table or as JSON."""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from runner.base.errors import UsageError

Figures = Mapping[str, Any]

_MORE_THAN_BUDGET: Final = 1


def run(what: Sequence[str], json: bool, budget: float | None) -> int:
    """Run the benches named (none: all but those on demand) and print them; return the exit code.

    1 when the loopback ratio is above `budget`. UsageError for an unknown name, or for a budget
    without the bench that it is about.
    """
    names = list(dict.fromkeys(what)) or [each for each in BENCHES if each not in ON_DEMAND]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        raise UsageError(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    if budget is not None and "loopback" not in names:
        raise UsageError("--budget limits the ratio of `loopback`, which was not asked for")
    results: dict[str, Figures] = {}
    if not json:
        sys.stdout.write(f"{interpreter()}\n")
    for name in names:
        results[name] = BENCHES[name]()
        if not json:
            sys.stdout.write(table(name, results[name]) + "\n")
            sys.stdout.flush()
    if json:
        told = {"interpreter": interpreter()} | results
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
    return _judged(results, budget)


def interpreter() -> str:
    """Name the interpreter, which moves every figure: how it was built matters as the machine does.

    A build with a profile of itself is 10 to 20 % faster here. `--enable-optimizations` names one;
    distributions have ways of their own, so that its absence says nothing.
    """
    version, compiler = platform.python_version(), platform.python_compiler()
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimised = ", --enable-optimizations" if "--enable-optimizations" in options else ""
    return f"{platform.python_implementation()} {version}, {compiler}{optimised}"


def _judged(results: Mapping[str, Figures], budget: float | None) -> int:
    if budget is None:
        return 0
    figures = results["loopback"]
    if not figures["orders"]:
        sys.stderr.write("bench: no order arrived, so there is no ratio to judge\n")
        return _MORE_THAN_BUDGET
    if figures["ratio"] <= budget:
        return 0
    sys.stderr.write(f"bench: the ratio {figures['ratio']} is above the budget {budget:g}\n")
    return _MORE_THAN_BUDGET


def _order() -> Figures:
    from runner.app.bench import order

    return order.run()


def _loopback() -> Figures:
    from runner.app.bench import loopback

    return loopback.run()


def _doors() -> Figures:
    from runner.app.bench import doors

    return doors.run()


def _replay() -> Figures:
    from runner.app.bench import replay

    return replay.run()


def _journal() -> Figures:
    from runner.app.bench import journal

    return journal.run()


def _gate() -> Figures:
    from runner.app.bench import gate

    return gate.run()


def _traces() -> Figures:
    from runner.app.bench import traces

    return traces.run()


def _ccxt() -> Figures:
    from runner.app.bench import by_ccxt

    return by_ccxt.run()


BENCHES: Final[Mapping[str, Callable[[], Figures]]] = {
    "order": _order,
    "loopback": _loopback,
    "doors": _doors,
    "replay": _replay,
    "journal": _journal,
    "gate": _gate,
    "traces": _traces,
    "ccxt": _ccxt,
}
ON_DEMAND: Final = frozenset({"ccxt"})
"""needs what is not always there: runs when it is named"""
TARGETS: Final[Mapping[str, Mapping[str, str]]] = {
    "order": {"frames_per_s": ">= 50,000", "order_p99_over_p50": "<= 10"},
    "loopback": {"ratio": "<= 1.5"},
    "doors": {"door_us": "p99 <= 1,000", "over_tick_p99_us": "<= 2,000"},
    "replay": {"tops_per_s": ">= 500,000", "frames_per_s": ">= 150,000"},
    "journal": {"p50_over_raw": "<= 1.3", "commit_us": "p50 <= 40, p99 <= 200"},
    "gate": {"judge_us": "p99 <= 10"},
}
"""what a quiet machine is to reach, by bench and figure"""


def table(name: str, figures: Figures) -> str:
    """Return a bench as text: percentiles as rows of microseconds, then the plain figures."""
    lines = [name]
    targets = TARGETS.get(name, {})

    def line(key: str, text: str) -> str:
        wanted = targets.get(key)
        return f"  {text}   (target: {wanted})" if wanted else f"  {text}"

    samples = {key: value for key, value in figures.items() if isinstance(value, Mapping)}
    if samples:
        columns = ("n", "p50", "p95", "p99", "most")
        lines.append(f"  {'us':<26}" + "".join(f"{column:>10}" for column in columns))
        for key, sample in samples.items():
            cells = (_cell(sample[column]) for column in columns)
            label = key.removesuffix("_us").replace("_", " ")
            lines.append(line(key, f"{label:<26}" + "".join(f"{cell:>10}" for cell in cells)))
    for key, value in figures.items():
        if key not in samples:
            lines.append(line(key, f"{key.replace('_', ' '):<26}{_cell(value):>10}"))
    return "\n".join(lines)


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
