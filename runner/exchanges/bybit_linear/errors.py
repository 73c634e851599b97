"""Return codes of Bybit v5 (bybit.md, sections 7 and 11).

`outcome` is what a code says of a place. Codes after which the order may exist, or that say that
it does, are UNKNOWN: the order is asked about by its client id and never sent again.
"""

from __future__ import annotations

from typing import Final

from runner.exchanges.api import Outcome
from runner.exchanges.errors import ErrorTable, entries

ERRORS: Final = ErrorTable(
    [
        *entries(
            Outcome.UNKNOWN,
            ("10000 170007 170146 170147", "the exchange timed out inside", "ask for the order"),
            ("10016 10019", "the exchange's service fails or restarts", "ask for the order"),
            ("10014 20006", "a duplicate request", "ask for the order"),
            ("110072 170141", "the client order id is in use: the order exists",
             "ask for the order"),
            ("110079", "the order is being processed", "wait, then ask for the order"),
            ("110001 170213 170143", "no such order, or too late to act on it",
             "ask again, then look at the history"),
        ),
        *entries(
            Outcome.RATE_LIMITED,
            ("10006 170222", "too many requests for this key", "wait for the reset"),
            ("10403", "too many requests from this address", "stop requests for 10 minutes"),
            ("10429", "the exchange protects itself from load", "wait, then decide anew"),
            ("20003", "requests too frequent within the session", "wait"),
        ),
        *entries(
            Outcome.CLOCK,
            ("10002", "the request's time lies outside the receive window",
             "measure the clock's offset again"),
        ),
        *entries(
            Outcome.REJECTED,
            ("10001", "a parameter is wrong or missing", "a fault of the program: report it"),
            ("10003", "the API key is invalid, or of another network", "check key and network"),
            ("10004", "the signature is wrong", "check the secret; a fault otherwise"),
            ("10005", "the key lacks the permission", "check the key's permissions"),
            ("10010", "the key is bound to other addresses", "check the key's address list"),
            ("10404", "an unknown operation", "a fault of the program: report it"),
            ("110003 170132 170133", "the price is out of the exchange's band", "check the price"),
            ("110004 110007 110012 110044 110045 170131", "the balance or margin does not suffice",
             "lower the size or add funds"),
            ("110008 110010", "the order is finished or cancelled already", "ask for the order"),
            ("110009", "too many stops and targets on the symbol", "let some of them end"),
            ("110017", "reduce-only, and there is nothing to reduce", "read the position"),
            ("110020", "more than 500 active orders", "cancel some"),
            ("110023", "the symbol may only be closed", "stop opening there"),
            ("110024", "the mode cannot change with a position open", "close it first"),
            ("110025 110043", "it was so already", "nothing"),
            ("110028", "the mode cannot change with orders open", "cancel them first"),
            ("110094 170140", "the order's value is under the minimum", "raise the size"),
            ("170134 170137", "more decimals than the symbol allows", "check tick and lot"),
            ("170136", "the quantity is under the minimum", "raise the size"),
            ("170218", "post-only would have taken", "nothing: it is the expected outcome"),
        ),
    ]
)  # fmt: skip

UNCHANGED: Final = frozenset((110025, 110043))
"""Answers to a setting that say that it was so already."""
NO_ORDER: Final = frozenset((110001, 170213))
"""Answers to a query that say that there is no such order."""
