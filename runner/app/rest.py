"""Reading by REST: a request that only asks, to its body or to an error of ours."""

from __future__ import annotations

from collections.abc import Sequence

from runner.base.errors import Down, RateLimited, Rejected
from runner.base.secret import redact
from runner.exchanges.api import HttpRequest
from runner.net.http import Http, HttpResponse

_SHOWN = 200
_DEFAULT_RETRY_S = 5.0


class Rest:
    """Reads of one exchange. Every failure is an `ExchangeError` that says what was asked."""

    def __init__(self, name: str, http: Http) -> None:
        self.name = name
        self.http = http

    async def fetch(self, request: HttpRequest) -> bytes:
        """Return the body of a 200 answer.

        RateLimited for 429 and 418 (Binance) and 403 (Bybit's IP limit), Down for 5xx and for no
        answer, Rejected for everything else.
        """
        answer = await self.http.read(request)
        if answer.status == 200:
            return answer.body
        raise self._refused(request, answer)

    async def fetch_all(self, requests: Sequence[HttpRequest]) -> list[bytes]:
        """Fetch in turn; the first failure ends it."""
        return [await self.fetch(request) for request in requests]

    def _refused(self, request: HttpRequest, answer: HttpResponse) -> Exception:
        text = redact(answer.body[:_SHOWN].decode("utf-8", "replace"))
        message = f"{self.name}: {request.label or request.method} answered {answer.status} {text}"
        if answer.status in (429, 418, 403):
            return RateLimited(message, _retry_after(answer))
        if answer.status >= 500:
            return Down(message)
        return Rejected(message, str(answer.status))


def _retry_after(answer: HttpResponse) -> float:
    try:
        return float(answer.headers.get("Retry-After", _DEFAULT_RETRY_S))
    except ValueError:
        return _DEFAULT_RETRY_S
