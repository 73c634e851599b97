"""What a start finds out before the first decision: account settings, key, fees.

Settings are read and compared; they are changed only when the account is flat in that symbol
(trading.md, section 4). A key that may withdraw is refused (R-70).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from runner.app.links import Link
from runner.base.errors import ExchangeError, Rejected, WorldError
from runner.engine.events import InstrumentFacts
from runner.exchanges.api import HttpRequest, KeyFacts, OrderCodec
from runner.market.instruments import Kind
from runner.spec.market_plan import Network
from runner.spec.plan import Plan

_SOON_MS = 7 * 86_400_000

Warn = Callable[[str], None]


async def check_account(
    link: Link, plan: Plan, facts: Sequence[InstrumentFacts], warn: Warn
) -> list[InstrumentFacts]:
    """Check key and settings of one account; return the facts with the account's own fees.

    WorldError: the exchange cannot be asked, the key may withdraw or cannot trade, or a setting
    differs and cannot be changed because a position is open.
    """
    name, codec = link.plan.name, link.order_codec
    assert codec is not None
    try:
        await _check_key(link, codec, warn)
        await _check_settings(link, codec, plan)
        return [await _with_fees(link, codec, plan, fact, warn) for fact in facts]
    except ExchangeError as error:
        raise WorldError(f"{name}: the account cannot be checked: {error}") from error


async def _check_key(link: Link, codec: OrderCodec, warn: Warn) -> None:
    request = codec.key_facts(link.sync.now_ms())
    if request is None:
        return
    name = link.plan.name
    try:
        facts = codec.parse_key_facts(await link.rest.fetch(request))
    except Rejected as error:
        if link.plan.network in (Network.LIVE,):
            raise
        warn(f"{name}: {link.plan.network} does not tell what the key may do ({error.code})")
        return
    wrong = wrong_rights(facts)
    if wrong:
        raise WorldError(f"{name}: {wrong}")
    if not facts.ip_bound:
        warn(f"{name}: the key is not bound to an address; bind it")
    if facts.expires_ms and facts.expires_ms - link.sync.now_ms() < _SOON_MS:
        warn(f"{name}: the key expires within 7 days")


def wrong_rights(facts: KeyFacts) -> str:
    """Return why a key must not be used, or an empty text (R-70)."""
    if facts.can_withdraw:
        return "this key may withdraw; make one that may only trade"
    if not facts.can_trade:
        return "this key may not trade; allow it (futures, or unified trading)"
    return ""


async def _check_settings(link: Link, codec: OrderCodec, plan: Plan) -> None:
    exchange, name = link.plan, link.plan.name
    symbols = _perpetuals(plan, name)
    if not symbols:
        return
    setup = codec.parse_setup(await link.rest.fetch_all(codec.setup(symbols, link.sync.now_ms())))
    held = await _held(link, codec)
    if setup.position_mode != exchange.position_mode:
        request = codec.set_position_mode(exchange.position_mode, link.sync.now_ms())
        await _change(link, request, bool(held), "position_mode", exchange.position_mode)
    for symbol in symbols:
        if setup.margin_mode.get(symbol, exchange.margin_mode) != exchange.margin_mode:
            request = codec.set_margin_mode(symbol, exchange.margin_mode, link.sync.now_ms())
            what = f"margin_mode of {symbol}"
            await _change(link, request, symbol in held, what, exchange.margin_mode)
        if setup.leverage.get(symbol) != exchange.leverage:
            request = codec.set_leverage(symbol, exchange.leverage, link.sync.now_ms())
            what = f"leverage of {symbol}"
            await _change(link, request, symbol in held, what, str(exchange.leverage))


def _perpetuals(plan: Plan, exchange: str) -> list[str]:
    return [
        m.symbol
        for m in plan.markets.values()
        if m.exchange == exchange and m.traded and m.instrument.kind is Kind.PERPETUAL
    ]


async def _held(link: Link, codec: OrderCodec) -> set[str]:
    bodies = await link.rest.fetch_all(codec.account(link.sync.now_ms()))
    account = codec.parse_account(bodies, 0, 0)
    return {position.symbol for position in account.positions if position.lots}


async def _change(
    link: Link, request: HttpRequest | None, held: bool, what: str, wanted: str
) -> None:
    name = link.plan.name
    if held:
        raise WorldError(
            f"{name}: {what} is not {wanted} as the file says, and it cannot be changed while a "
            "position is open (E0504)"
        )
    if request is None:
        raise WorldError(f"{name}: {what} is not {wanted}; set it at the exchange (E0504)")
    try:
        await link.rest.fetch(request)
    except Rejected as error:
        raise WorldError(f"{name}: {what} could not be set to {wanted}: {error}") from error


async def _with_fees(
    link: Link, codec: OrderCodec, plan: Plan, fact: InstrumentFacts, warn: Warn
) -> InstrumentFacts:
    market = plan.markets[fact.market]
    request = codec.fees(market.symbol, link.sync.now_ms()) if market.traded else None
    if request is None:
        return fact
    try:
        maker, taker = codec.parse_fees(await link.rest.fetch(request))
    except Rejected as error:
        warn(f"{link.plan.name}: fees of {market.symbol} are the catalogue's ({error.code})")
        return fact
    return msgspec.structs.replace(fact, maker=maker, taker=taker, fee_source="account")
