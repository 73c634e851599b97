"""Open trades in the journal that no rule of the file goes on with, and what becomes of them.

Theory of operation. What an earlier run left is an *orphan* when it holds something (lots, orders
that are not settled) and the file has no rule of its name, markets and sides, or one that enters or
leaves otherwise than when the trade began. A start with one is refused, unless its operator says:

    adopt   OLD=NEW: rule NEW, whose legs must be the same, goes on with it by its own words
    close   it is closed, all legs together (R-76), before any rule may enter
    hold    it is kept: no condition touches it, only limits, its stop at the exchange, `flatten`;
            its legs are trimmed to match when one is shrunk, or was never filled

For the last two it gets a *caretaker*: a rule with the legs of the trade whose `when` is never
true. So it stays what any trade is: counted against limits, valued, shown, closed in matched
quantities. It is called as its rule was; where the file has another rule of that name, `X.orphan`.

All of this is decided before the engine begins, on the rows alone, and recorded with them: a replay
makes the same caretakers of them (`caretaking`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.base.errors import UsageError, WorldError
from runner.engine.commands import Purpose
from runner.engine.reading import entered_keys, identity
from runner.engine.saved import GUARDS, Saved, Settled
from runner.market.instruments import Instrument
from runner.spec.rule_plan import Care, GuardKind, RulePlan

if TYPE_CHECKING:
    from runner.spec.plan import Plan

Row = dict[str, Any]
ADOPTED: Final = "adopt"
_SUMS: Final = ("realised", "fees", "funding", "volume", "fills", "fee_lots", "fee_owed")


# -- which they are


def holds(row: Row) -> bool:
    """Whether something is held by a rule's row, or may still come of its orders."""
    return bool(row["orders"]) or any(x["lots"] for x in row["ledgers"])


def legs_of(row: Row) -> list[tuple[str, str]]:
    """Return (market, side) of each leg of a row's trade, of what it holds without one."""
    if "trade" in row:
        return [(leg["market"], leg["side"]) for leg in row["trade"]["legs"]]
    found = {x["market"]: "buy" if x["lots"] > 0 else "sell" for x in row["ledgers"] if x["lots"]}
    for order in row["orders"]:
        found.setdefault(order["intent"]["market"], order["intent"]["side"])
    return list(found.items())


def meaning_of(instrument: Instrument) -> str:
    """Return what the name of a market stands for, which a file may change."""
    return f"{instrument.exchange_type} {instrument.symbol}"


def elsewhere(plan: Plan, row: Row) -> str:
    """Say which market of a row the file calls otherwise; "" when none (older rows do not say)."""
    for market, (_, _, *meaning) in row.get("grids", {}).items():
        now = plan.markets.get(market)
        if meaning and now is not None and meaning[0] != meaning_of(now.instrument):
            return f"{market} was {meaning[0]}, and is {meaning_of(now.instrument)} in the file"
    return ""


def fits(plan: Plan, rule: RulePlan, row: Row) -> bool:
    """Whether a row's legs are those of a rule of the file."""
    if elsewhere(plan, row):
        return False
    if "trade" not in row:
        return all(x["market"] in plan.markets for x in row["ledgers"])
    return legs_of(row) == [(leg.market, leg.side.value) for leg in rule.legs]


def same_words(rule: RulePlan, words: str, row: Row) -> bool:
    """Whether an open trade finds its rule as it was, `words` being its identity now.

    Rows of older versions do not say.
    """
    trade = row.get("trade")
    if trade is None:
        return True
    if unguarded(rule, row):
        return False
    return bool(trade.get("identity", words) == words)


def unguarded(rule: RulePlan, row: Row) -> list[GuardKind]:
    """Return what rests at the exchange for a row's trade and is not in a rule."""
    known = {g.kind for g in rule.trade.guards} if rule.trade is not None else set()
    trade = row.get("trade", {})
    return [kind for kind, key in GUARDS.items() if key in trade and kind not in known]


def _orphans(plan: Plan, rows: Mapping[str, Row], words: bool) -> list[str]:
    """Return the names of all; `words`: trades go on by the words that their rules have now.

    A file that says `on_restart: refuse` goes on with none by itself.
    """
    found = []
    for name, row in rows.items():
        rule = plan.rules.get(name)
        goes_on = rule is not None and fits(plan, rule, row)
        if rule is not None and goes_on and not words:
            refuses = plan.run.on_restart == "refuse"
            goes_on = not refuses and same_words(rule, identity(plan, rule), row)
        if not goes_on and holds(row):
            found.append(name)
    return found


# -- what becomes of them


def settle(
    plan: Plan,
    saved: Saved,
    adopt: Iterable[tuple[str, str]] = (),
    care: Care | None = None,
    *,
    words: bool = False,
) -> Saved:
    """Give each orphan to the rule that adopts it, else into the care that is wanted.

    `plan` is the file's. UsageError for a rule that there is not, WorldError for a trade that its
    new rule cannot go on with. An OLD that holds nothing is passed over.
    """
    rows: dict[str, Row] = {name: msgspec.json.decode(text) for name, text in saved.rules.items()}
    settled: list[Settled] = []
    for old, new in adopt:
        if new not in plan.rules:
            known = ", ".join(plan.rules)
            raise UsageError(f"--adopt {old}={new}: no rule is named {new!r}; there are {known}")
        if old in rows and holds(rows[old]):
            _adopt(plan, rows, old, new)
            settled.append(Settled(rule=new, of=old, how=ADOPTED))
    if care is not None:
        for name in _orphans(plan, rows, words):
            given = _free_name(name, plan, rows) if name in plan.rules else name
            row = rows.pop(name)
            if given != name:
                rows[name] = _emptied(row)
            rows[given] = _in_care(_renamed(row, given))
            settled.append(Settled(rule=given, of=name, how=care.value))
    if not settled:
        return saved
    texts = {name: msgspec.json.encode(row).decode() for name, row in rows.items()}
    return msgspec.structs.replace(saved, rules=texts, settled=tuple(settled))


def _adopt(plan: Plan, rows: dict[str, Row], old: str, new: str) -> None:
    row, rule = rows[old], plan.rules[new]
    what = f"--adopt {old}={new}"
    own = rows.get(new)
    if old != new:
        was = plan.rules.get(old)
        if was is not None and fits(plan, was, row) and same_words(was, identity(plan, was), row):
            raise WorldError(f"{what}: rule {old} is in the file as it was, and goes on with it")
        if own is not None and (own["orders"] or "trade" in own):
            raise WorldError(f"{what}: rule {new} has an open trade of its own")
    if bool(row.get("quotes")) is not (rule.quote is not None) or "trade" not in row:
        kind = "a quote" if row.get("quotes") else "a trade" if "trade" in row else "a purchase"
        raise WorldError(f"{what}: what {old} left is {kind}, and {new} would not go on with that")
    if elsewhere(plan, row):
        raise WorldError(f"{what}: {elsewhere(plan, row)}")
    if not fits(plan, rule, row):
        legs = [(leg.market, leg.side.value) for leg in rule.legs]
        raise WorldError(
            f"{what}: the open trade is {told_legs(legs_of(row))}, but {new} trades"
            f" {told_legs(legs)}: markets and sides must be the same"
        )
    trade = row["trade"]
    if trade.get("entered_of", []) != entered_keys(rule):
        trade["entered"] = [None] * len(rule.entered)  # what it did not remember is missing
    trade["identity"], trade["entered_of"] = identity(plan, rule), entered_keys(rule)
    for kind in unguarded(rule, row):
        raise WorldError(f"{what}: the trade has a {kind} at the exchange, and {new} has none")
    if old == new:
        return
    if own is not None:
        _join(row, own, what)
    rows.pop(old)
    if old in plan.rules:
        rows[old] = _emptied(row)
        row.pop("spent", None)
    rows[new] = _renamed(row, new)


def _join(row: Row, own: Row, what: str) -> None:
    """Add what a rule's ledgers hold and have cost before to those of the trade it takes over."""
    by_market = {x["market"]: x for x in row["ledgers"]}
    for theirs in own["ledgers"]:
        ours = by_market.get(theirs["market"])
        if ours is None:
            row["ledgers"].append(theirs)
            continue
        lots = ours["lots"] + theirs["lots"]
        if ours["lots"] * theirs["lots"] < 0:
            raise WorldError(f"{what}: the rule holds {theirs['lots']} lots of {ours['market']}")
        if theirs["lots"]:
            held = ((ours["lots"], ours["entry"]), (theirs["lots"], theirs["entry"]))
            ours["entry"] = sum(n * entry for n, entry in held if n) / lots
        for leg in row["trade"]["legs"]:
            if leg["market"] == ours["market"]:
                leg["start"] += theirs["lots"]
                leg["fee_start"] = leg.get("fee_start", 0) + theirs["fee_lots"]
        row["trade"]["baseline"] += theirs["realised"] - theirs["fees"] + theirs["funding"]
        ours["lots"] = lots
        for key in _SUMS:
            ours[key] += theirs[key]
        for asset, fee in theirs["other_fees"].items():
            ours["other_fees"][asset] = ours["other_fees"].get(asset, 0.0) + fee
    spent = sorted([*own.get("spent", ()), *row.get("spent", ())])
    if spent:
        row["spent"] = spent


def _renamed(row: Row, name: str) -> Row:
    for order in row["orders"]:
        order["intent"]["rule"] = name
        if order.get("pending") is not None:
            order["pending"]["rule"] = name
    return row


def _emptied(row: Row) -> Row:
    """Return the row of a rule whose trade is another's now; its `when` must be false first."""
    kept = {key: row[key] for key in ("v", "rejects", "disabled", "cooldown_until")}
    if "spent" in row:
        kept["spent"] = row["spent"]
    return {**kept, "state": "idle", "armed": False, "ledgers": [], "orders": [], "grids": {}}


def _free_name(name: str, plan: Plan, rows: Mapping[str, Row]) -> str:
    taken, number = {*plan.rules, *rows}, 1
    given = f"{name.partition('.')[0]}.orphan"
    while given in taken:
        number += 1
        given = f"{name.partition('.')[0]}.orphan{number}"
    return given


def _in_care(row: Row) -> Row:
    """Let a row's trade be one that nothing but its caretaker knows: not led, never completed."""
    for key in ("inbox", "outbox", "quotes"):
        row.pop(key, None)
    row["disabled"], row["armed"] = "", True
    lots = {x["market"]: x["lots"] for x in row["ledgers"]}
    if "trade" not in row and row.get("keep") is False and any(lots.values()):
        row["trade"] = _bought(row)
    trade = row.get("trade")
    if trade is None:
        row["state"] = "idle"
        return row
    trade.pop("leaving", None)
    trade["failed"], trade["lead"] = True, -1
    if len(trade["legs"]) == 1:
        _turn(trade["legs"][0], lots)
    entering = any(o["intent"]["purpose"] != Purpose.PROTECT.value for o in row["orders"])
    row["state"] = "entering" if entering else "active"
    return row


def _turn(leg: Row, lots: Mapping[str, int]) -> None:
    """Let the one leg of a trade look to where it is held: a quote's inventory has either side."""
    held = lots.get(leg["market"], 0) - leg["start"]
    leg["planned"] = max(leg["planned"], abs(held))
    if held:
        leg["side"] = "buy" if held > 0 else "sell"


def _bought(row: Row) -> Row:
    """Return the trade of what an `order` of `keep: false` bought."""
    held = [x for x in row["ledgers"] if x["lots"]]
    return {
        "ordinal": 0, "wall": 0, "entered": [], "attempt": 0, "rejected": "",
        "baseline": sum(x["realised"] - x["fees"] + x["funding"] for x in held),
        "legs": [
            {
                "market": x["market"], "side": "buy" if x["lots"] > 0 else "sell",
                "planned": abs(x["lots"]), "touch": x["entry"], "start": 0,
            }
            for x in held
        ],
    }  # fmt: skip


def told_legs(legs: Iterable[tuple[str, str]]) -> str:
    """Write legs for people: `bin sell, byb buy`."""
    return ", ".join(f"{market} {side}" for market, side in legs)
