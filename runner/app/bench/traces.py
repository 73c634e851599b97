"""What `why` costs: the same work with traces and without, in pairs (`runner bench traces`).

Each pair runs both, one after the other, the first in turn; the ratio of a pair is free of what the
machine does meanwhile, more or less, and the median over the pairs of most of the rest.

    signed          a frame's bytes to the signed order: the path that counts
    quiet           a frame that decides nothing
    order           an order's frame to the return of its callback, its traces written
    replayed tops   decoded tops of book in virtual time, 500 a second, by processor time: the
                    looks, once a second of the run's time, are the most of it
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from runner.app.bench import order
from runner.app.bench.replay import decoded_tops
from runner.app.bench.setup import GAP_STRATEGY, plan_of
from runner.base.clock import worked_ns

PAIRS = 9
FRAMES = 20_000
TOPS = 200_000


def run(pairs: int = PAIRS, frames: int = FRAMES, tops: int = TOPS) -> dict[str, Any]:
    """Return the cost with traces over the cost without: medians of the ratios of pairs."""
    plan = plan_of(GAP_STRATEGY)

    def of_orders(watching: bool) -> tuple[float, ...]:
        found = order.run(frames, watching=watching)
        return tuple(found[f"{key}_us"]["p50"] for key in ("signed", "quiet", "order"))

    def of_tops(watching: bool) -> tuple[float, ...]:
        rate, _ = decoded_tops(plan, tops, watching=watching, stopwatch=worked_ns)
        return (1 / rate,)

    signed, quiet, whole = _ratios(pairs, of_orders)
    (replayed,) = _ratios(pairs, of_tops)
    return {
        "pairs": pairs,
        "signed_ratio": signed,
        "quiet_frame_ratio": quiet,
        "order_frame_ratio": whole,
        "replayed_tops_ratio": replayed,
    }


def _ratios(pairs: int, cost: Callable[[bool], tuple[float, ...]]) -> tuple[float, ...]:
    found = []
    for pair in range(pairs):
        first = pair % 2 == 0
        one, other = cost(first), cost(not first)
        with_traces, without = (one, other) if first else (other, one)
        found.append([a / b for a, b in zip(with_traces, without, strict=True)])
    return tuple(round(median(each), 3) for each in zip(*found, strict=True))
