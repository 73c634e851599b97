"""What is asked of an account by REST: one order, its fills, the whole picture.

Theory of operation. Nothing here changes anything at the exchange, so everything may be asked
again. A network error is never evidence (R-17): a question without a definitive answer tells
nothing, and the engine asks again. Fills are told before the order whose end they explain. Fills
are read from a minute before the last picture on, page after page, in steps of the seven days that
exchanges answer for at most. With them comes what the exchange itself did (liquidation, ADL): a
stream that was down did not tell it.

A refused time stamp has the clock measured at once; a refusal for the rate closes the door.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from runner.app.rest import Make, Rest
from runner.base.clock import NS_PER_MS, Clock
from runner.base.crash import crash_point
from runner.base.errors import ExchangeError, Rejected
from runner.engine.commands import Query
from runner.engine.events import (
    Account,
    Event,
    External,
    Fill,
    Found,
    OrderView,
    Reconciled,
)
from runner.exchanges.api import HttpRequest, OrderCodec, Outcome
from runner.net.budget import Priority
from runner.net.http import HttpResponse
from runner.net.timesync import TimeSync

T = TypeVar("T")
QUERY_TIMEOUT_S: Final = 2.0
LOOK_BACK_MS: Final = 60_000
_WEEK_MS: Final = 7 * 86_400_000
_MOST_WEEKS: Final = 13
_MOST_PAGES: Final = 200
_ORDERS_A_PAGE: Final = 1000


class AccountReader:
    """Asks for one account. `tell` takes the events of a query."""

    def __init__(
        self,
        name: str,
        codec: OrderCodec,
        rest: Rest,
        sync: TimeSync,
        clock: Clock,
        symbols: Sequence[str],
        tell: Callable[[Event], None],
        notice: Callable[[str], None],
    ) -> None:
        self.last_fill_ms = 0
        """exchange time of the last picture: fills before it are known"""
        self._first_ms = 0
        """where the first picture began to look"""
        self._name = name
        self._codec = codec
        self._rest = rest
        self._sync = sync
        self._clock = clock
        self._symbols = tuple(symbols)
        self._began_ms = 0
        """exchange time of the first picture: what happened before is in its positions"""
        self._forced: dict[tuple[str, str], External] = {}
        """by market and id: what the exchange itself did, as the pages of fills show it"""
        self._tell = tell
        self._notice = notice

    async def query(self, command: Query) -> None:
        """Ask about one order; tell its fills, then `Found`, or nothing without an answer."""
        cid, symbol, codec = command.cid, command.symbol, self._codec
        view: OrderView | None = None
        asked = partial(codec.query, symbol, cid, protective=command.protective)
        for step in range(len(asked(self._sync.now_ms()))):
            try:
                answer = await self._rest.ask(
                    self._nth(step, asked),
                    Priority.CANCEL,
                    QUERY_TIMEOUT_S,
                )
            except ExchangeError:
                return
            outcome, view = codec.parse_query(cid, answer.status, answer.body)
            if outcome is Outcome.UNKNOWN:
                self._learn_from(answer)
                return
            if view is not None:
                break
        if view is not None and view.filled_lots:
            await self._tell_fills(view)
        self._tell(Found(cid=cid, order=view))

    async def picture(self) -> Reconciled:
        """Read open orders, fills and account. ExchangeError: there is no picture."""
        crash_point("reconcile_before")
        self._note_beginning()
        codec = self._codec
        started, started_ms = self._clock.mono(), self._sync.now_ms()
        self._began_ms = self._began_ms or started_ms
        self._forced.clear()
        orders: list[OrderView] = []
        for step in range(len(codec.open_orders(started_ms))):
            # page after page: what is left out of a picture looks ended
            orders += await self._paged(
                self._nth(step, codec.open_orders), codec.parse_open_orders,
                codec.more_open_orders, "the open orders",
            )  # fmt: skip
        crash_point("reconcile_middle")
        fills: list[Fill] = []
        for symbol in self._symbols:
            since = self.last_fill_ms or self._first_ms
            fills += await self._fills(symbol, since, Priority.READ)
        account = await self._account(len(codec.account(started_ms)))
        self.last_fill_ms = started_ms
        return Reconciled(
            exchange=self._name,
            open_orders=tuple(orders),
            fills=tuple(fills),
            account=account,
            started=started,
            externals=tuple(self._forced.values()),
        )

    async def _account(self, requests: int) -> Account:
        answers = [
            await self._ok(self._nth(step, self._codec.account), Priority.READ)
            for step in range(requests)
        ]
        bodies = [answer.body for answer in answers]
        try:
            return self._codec.parse_account(bodies, self._clock.mono(), self._clock.wall())
        except ExchangeError as error:
            for answer in answers:
                judged = self._judged(error, answer)
                if judged is not error:
                    raise judged from error
            raise

    async def _tell_fills(self, view: OrderView) -> None:
        try:
            for fill in await self._fills_of(view):
                self._tell(fill)
        except ExchangeError as error:  # the engine sees that fills are missing, and asks
            self._notice(f"fills of {view.symbol}: {error}")

    async def _fills_of(self, view: OrderView) -> list[Fill]:
        """Read the fills around an order's last change; all of the run where these are not enough.

        A picture may have seen them before their order's name was known (Binance), and no later
        picture goes back as far.
        """
        self._note_beginning()
        since = min(self.last_fill_ms or self._first_ms, view.ts // NS_PER_MS or self._first_ms)
        fills = await self._fills(view.symbol, since, Priority.CANCEL)
        known = {fill.trade_id: fill.lots for fill in fills if fill.cid == view.cid}
        if sum(known.values()) < view.filled_lots and since > self._first_ms:
            return await self._fills(view.symbol, self._first_ms, Priority.CANCEL)
        return fills

    def _note_beginning(self) -> None:
        self._first_ms = self._first_ms or self.last_fill_ms or self._sync.now_ms()

    async def _fills(self, symbol: str, since_ms: int, priority: Priority) -> list[Fill]:
        now = self._sync.now_ms()
        since = max(0, since_ms - LOOK_BACK_MS, now - _MOST_WEEKS * _WEEK_MS)
        fills: list[Fill] = []
        while since <= now:
            fills += await self._fills_of_week(symbol, since, priority)
            since += _WEEK_MS
        return fills

    async def _fills_of_week(self, symbol: str, since: int, priority: Priority) -> list[Fill]:
        codec, now_ms = self._codec, self._sync.now_ms
        if codec.recent_orders(symbol, since, now_ms()) is not None:
            await self._learn_names(symbol, since, priority)
        return await self._paged(
            lambda: codec.fills(symbol, since, now_ms()), self._page,
            partial(codec.more_fills, symbol, since), f"the fills of {symbol}", priority,
        )  # fmt: skip

    async def _learn_names(self, symbol: str, since: int, priority: Priority) -> None:
        """Have the codec learn the client ids of a week.

        A full page may have left out either end, so its time is asked for again in halves.
        """
        now_ms, recent = self._sync.now_ms, self._codec.recent_orders
        spans = [(since, 0)]  # 0: up to now
        for _ in range(_MOST_PAGES):
            if not spans:
                return
            first, until = spans.pop()
            ask = partial(recent, symbol, first, until_ms=until)
            make = partial(lambda ask: _needed(ask(now_ms())), ask)
            orders = await self._read(make, self._codec.parse_open_orders, priority)
            last = until or min(now_ms(), first + _WEEK_MS)
            if len(orders) >= _ORDERS_A_PAGE and last > first:
                middle = (first + last) // 2
                spans += [(middle + 1, until), (first, middle)]
        self._notice(f"the orders of {symbol} are more than can be read; fills may have no name")

    def _page(self, body: bytes) -> list[Fill]:
        for forced in self._codec.parse_forced(body):
            if forced.ts // NS_PER_MS >= self._began_ms > 0:
                self._forced[forced.market, forced.id] = forced
        return self._codec.parse_fills(body)

    def _nth(self, step: int, requests: Callable[[int], Sequence[HttpRequest]]) -> Make:
        """Return what makes the n-th of some requests, signed at the time it is called."""
        return lambda: requests(self._sync.now_ms())[step]

    async def _paged(
        self,
        make: Make,
        parse: Callable[[bytes], list[T]],
        more: Callable[[bytes, int], HttpRequest | None],
        what: str,
        priority: Priority = Priority.READ,
    ) -> list[T]:
        """Read page after page; `more` makes of one and the time the request for the next."""
        rows: list[T] = []
        for _ in range(_MOST_PAGES):
            body, page = await self._read(make, lambda body: (body, parse(body)), priority)
            rows += page
            following = partial(more, body)
            if following(self._sync.now_ms()) is None:
                return rows
            make = partial(lambda ask: _needed(ask(self._sync.now_ms())), following)
        raise ExchangeError(f"{self._name}: {what} have no end")

    async def _read(
        self,
        make: Make,
        parse: Callable[[bytes], T],
        priority: Priority = Priority.READ,
    ) -> T:
        answer = await self._ok(make, priority)
        try:
            return parse(answer.body)
        except ExchangeError as error:
            raise self._judged(error, answer) from error

    async def _ok(self, make: Make, priority: Priority) -> HttpResponse:
        answer = await self._rest.ask(make, priority)
        if answer.status != 200:
            raise self._judged(self._rest.refusal(make().label, answer), answer)
        return answer

    def _judged(self, error: ExchangeError, answer: HttpResponse) -> ExchangeError:
        """Return `Rejected` for what would be refused again, something milder for what would not.

        Bybit refuses inside an HTTP 200; Binance answers 400 to a time stamp.
        """
        outcome = self._learn_from(answer)
        if outcome is Outcome.REJECTED and answer.status == 200:
            return Rejected(str(error))
        if outcome is not Outcome.REJECTED and isinstance(error, Rejected):
            return ExchangeError(str(error))
        return error

    def _learn_from(self, answer: HttpResponse) -> Outcome:
        """Let a refusal have its consequences: a clock measured anew, a pause."""
        t, wall = self._clock.mono(), self._clock.wall()
        outcome, _ = self._codec.reply(
            "", "read", answer.status, answer.headers, answer.body, t, wall
        )
        if outcome is Outcome.CLOCK:
            self._sync.again()
        elif outcome is Outcome.RATE_LIMITED and answer.status == 200:
            self._rest.pace.limited()
        return outcome


def _needed(request: HttpRequest | None) -> HttpRequest:
    assert request is not None
    return request
