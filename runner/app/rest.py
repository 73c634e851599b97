"""Reading by REST: a request that only asks, to its body or to an error of ours.

Each request waits for its turn in the exchange's budget. One that is signed is made after the wait,
not before it: a signature has a time, and the exchange refuses old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from runner.app.pacing import Pace
from runner.base.clock import SystemClock
from runner.base.errors import Down, ExchangeError, RateLimited, Rejected
from runner.base.secret import redact
from runner.exchanges.api import HttpRequest
from runner.net.budget import Priority
from runner.net.doors import REFUSING, retry_after
from runner.net.http import TIMEOUT_S, Http, HttpResponse

Make = Callable[[], HttpRequest]
_SHOWN: Final = 200


class Rest:
    """Reads of one exchange. Every failure is an `ExchangeError` that says what was asked."""

    def __init__(self, name: str, http: Http, pace: Pace | None = None) -> None:
        self.name = name
        self.http = http
        self.pace = pace or Pace(name, SystemClock())

    async def fetch(self, request: HttpRequest, priority: Priority = Priority.READ) -> bytes:
        """Return the body of a 200 answer.

        RateLimited for 429 and 418 (Binance) and 403 (Bybit's IP limit), Down for 5xx and for no
        answer, Rejected for everything else.
        """
        answer = await self.ask(lambda: request, priority)
        if answer.status == 200:
            return answer.body
        raise self.refusal(request.label or request.method, answer)

    async def fetch_all(self, requests: Sequence[HttpRequest]) -> list[bytes]:
        """Fetch in turn; the first failure ends it."""
        return [await self.fetch(request) for request in requests]

    async def ask(
        self, make: Make, priority: Priority = Priority.READ, timeout_s: float = TIMEOUT_S
    ) -> HttpResponse:
        """Return the answer, whatever it says; Down when there is none."""
        request, pace = make(), self.pace
        cost = pace.cost(request)
        if pace.take(cost, priority):
            await pace.turn(cost, priority)
            request = make()
        answer = await self.http.read(request, timeout_s)
        pace.heard(cost, answer)
        return answer

    def refusal(self, label: str, answer: HttpResponse) -> ExchangeError:
        """Return the error that an answer other than 200 amounts to."""
        text = redact(answer.body[:_SHOWN].decode("utf-8", "replace"))
        message = f"{self.name}: {label} answered {answer.status} {text}"
        if answer.status in REFUSING:
            return RateLimited(message, retry_after(answer.headers))
        if answer.status >= 500:
            return Down(message)
        return Rejected(message, str(answer.status))
