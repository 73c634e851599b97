"""Error codes of Binance USD-M futures and spot (binance-usdm.md 11, binance-spot.md 10).

`outcome` is what a code says of a place. Codes after which the order may exist, or that say that
it does, are UNKNOWN: the order is asked about by its client id and never sent again.
"""

from __future__ import annotations

from typing import Final

from runner.exchanges.api import Outcome
from runner.exchanges.errors import ErrorTable, entries

_SHARED: Final = [
    *entries(
        Outcome.UNKNOWN,
        ("-1000", "an unknown error while the request was processed", "ask for the order"),
        ("-1001", "the exchange lost its own connection inside", "ask for the order"),
        ("-1006", "an unexpected answer inside the exchange", "ask for the order"),
        ("-1007", "the matching engine did not answer in time", "ask for the order"),
        ("-2013", "no such order, or not yet", "ask again, then look at the fills"),
    ),
    *entries(
        Outcome.RATE_LIMITED,
        ("-1003", "too much request weight", "nothing is sent until the window is over"),
        ("-1008", "the exchange protects itself from load; not executed", "wait, then decide anew"),
        ("-1015", "too many orders in the window", "wait for the window"),
    ),
    *entries(
        Outcome.CLOCK,
        ("-1021", "the request's time lies outside the receive window",
         "measure the clock's offset again"),
    ),
    *entries(
        Outcome.REJECTED,
        ("-1002", "not authorised", "check the key's permissions"),
        ("-1013", "a filter refused it: price, quantity or value", "check tick, lot and minimum"),
        ("-1014", "an order of an unsupported kind", "check type and time in force"),
        ("-1020", "an unsupported operation", "check the order's type"),
        ("-1022", "the signature is wrong", "check the secret; a fault of the program otherwise"),
        ("-1100 -1101 -1102 -1103 -1104 -1105 -1106 -1108 -1112 -1114 -1115 -1116 -1117 -1118"
         " -1119 -1120 -1127 -1128 -1130 -1136",
         "a parameter is wrong or missing", "a fault of the program: report it"),
        ("-1111", "more decimals than the symbol allows", "check tick and lot"),
        ("-1121", "no such symbol", "check the market's symbol"),
        ("-1125", "the listen key is not valid", "a new one is fetched"),
        ("-2010", "the order was rejected; the text says why", "read the text"),
        ("-2011", "the cancel was rejected: no such open order", "ask for the order"),
        ("-2014", "the API key has a wrong form", "check the key"),
        ("-2015", "key, address or permission is wrong", "check the key and its address list"),
    ),
]  # fmt: skip

SPOT: Final = ErrorTable(_SHARED)

USDM: Final = ErrorTable(
    [
        *_SHARED,
        *entries(
            Outcome.UNKNOWN,
            ("-4116", "the client order id is in use: the order exists", "ask for the order"),
        ),
        *entries(
            Outcome.REJECTED,
            ("-2018", "the balance does not suffice", "lower the size or add funds"),
            ("-2019", "the margin does not suffice", "lower size or leverage use, or add margin"),
            ("-2020", "it cannot be filled", "decide anew"),
            ("-2021", "it would trigger at once", "check the trigger price"),
            ("-2022", "reduce-only, and there is nothing to reduce", "read the position"),
            ("-2023", "the account is being liquidated", "act by hand now"),
            ("-2024", "the position does not suffice", "read the position"),
            ("-2025", "too many open orders", "cancel some"),
            ("-2026", "this type cannot be reduce-only", "check the order's type"),
            ("-2027", "the position would exceed what this leverage allows",
             "lower leverage or size"),
            ("-2028", "the margin does not suffice at this leverage", "lower leverage"),
            ("-4003 -4004 -4005", "the quantity is out of bounds", "check minimum and maximum"),
            ("-4013 -4016 -4024", "the price is out of bounds", "check the exchange's band"),
            ("-4014", "the price is not a multiple of the tick", "check the instrument"),
            ("-4015", "the client order id is not legal", "a fault of the program: report it"),
            ("-4023", "the quantity is not a multiple of the lot", "check the instrument"),
            ("-4028", "the leverage is not valid", "check `leverage`"),
            ("-4045", "too many stops and targets", "let some of them end"),
            ("-4046", "the margin mode was so already", "nothing"),
            ("-4047 -4048", "the margin mode cannot change with orders or positions open",
             "close them first"),
            ("-4059", "the position mode was so already", "nothing"),
            ("-4061", "positionSide does not fit the position mode",
             "set the account to one-way mode"),
            ("-4067 -4068", "the position mode cannot change with orders or positions open",
             "close them first"),
            ("-4120", "conditional orders have a path of their own", "a fault: report it"),
            ("-4131", "a market order would leave the price band", "wait"),
            ("-4164", "the order's value is under the minimum", "raise the size"),
            ("-4400", "the account is restricted to reducing", "stop opening; see the exchange"),
            ("-5021", "fill-or-kill could not be filled", "nothing: it is the expected outcome"),
            ("-5022", "post-only would have taken", "nothing: it is the expected outcome"),
        ),
    ]
)  # fmt: skip

UNCHANGED: Final = frozenset((-4046, -4059))
"""Answers to a setting that say that it was so already."""
NOT_EXECUTED: Final = (
    "Service Unavailable.",
    "Internal error; unable to process your request. Please try again.",
)
"""Texts of HTTP 503 after which nothing was executed; any other 503 is unknown."""
