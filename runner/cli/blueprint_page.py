"""`runner explain blueprint`: the file that `use` takes in, which has no key in a strategy."""

from __future__ import annotations

from typing import Final

TOPICS: Final = frozenset({"blueprint", "blueprints", "inputs"})
BLUEPRINT: Final = """\
inputs:
  m: {type: market}
  clip: {type: USDT, default: 300 USDT, range: [100 USDT, 900 USDT]}
signals:
  fast: ema(m.mid, 1m)
rules:
  up:
    when: gap(m.mid, fast) > this.cost + 10bps
    until: gap(m.mid, fast) < 0
    max_hold: 1h
    trade: {size: inputs.clip, legs: [{market: m, side: buy}]}
"""
USE: Final = """\
use:
  - {file: ../blueprints/up.yaml, prefix: b, with: {m: btc, clip: params.clip}}
  - {file: ../blueprints/up.yaml, prefix: e, with: {m: eth}}
"""


def page() -> str:
    """Return the page."""
    return f"""\
A blueprint is a file that a strategy takes in by `use`, once or several times. It holds

  inputs   what it is given, each typed: `market`, `exchange`, or as a param is, with a
           default and a range; one without a default must be given
  markets, signals, sizing, rules
           as in a strategy; `version`, `name` and `about` for readers

A market or exchange that is given stands for its input by name (`m.mid`, `market: m`); a
value is read as `inputs.NAME`. Each name of a blueprint gets the prefix of its use: the rule
`up` with `prefix: b` is `b_up`. It is checked where it is used, not by itself.

blueprints/up.yaml:

{_shifted(BLUEPRINT)}
in the strategy:

{_shifted(USE)}"""


def _shifted(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
