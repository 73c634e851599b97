"""Reading by REST: bodies, and errors that say whose fault it was."""

from __future__ import annotations

import asyncio

import pytest

from runner.app.rest import Rest
from runner.base.errors import Down, RateLimited, Rejected, UnknownOutcome
from runner.exchanges.api import HttpRequest
from runner.net.mock import MockHttp, json_response

ASK = HttpRequest("GET", "https://x.example/a?signature=abc", label="GET /a")


def fetch(*script: object) -> bytes:
    return asyncio.run(Rest("x", MockHttp(script)).fetch(ASK))  # type: ignore[arg-type]


def test_a_200_is_its_body() -> None:
    assert fetch(json_response("{}")) == b"{}"


@pytest.mark.parametrize("status", [429, 418, 403])
def test_a_refusal_for_the_rate_says_when_to_come_again(status: int) -> None:
    with pytest.raises(RateLimited, match=rf"x: GET /a answered {status}") as caught:
        fetch(json_response("{}", status, Retry_After="17"))
    assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_response("", 502), Down),
        (json_response('{"code":-1}', 400), Rejected),
        (Down("no route"), Down),
        (UnknownOutcome("timeout"), Down),
    ],
)
def test_every_other_failure_is_down_or_rejected(answer: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        fetch(answer)


def test_an_error_shows_neither_the_query_nor_much_of_the_body() -> None:
    with pytest.raises(Rejected) as caught:
        fetch(json_response("z" * 10_000, 400))
    assert "signature" not in str(caught.value) and len(str(caught.value)) < 300


def test_the_first_failure_ends_a_row_of_questions() -> None:
    http = MockHttp([json_response("1"), Down("no"), json_response("3")])
    with pytest.raises(Down):
        asyncio.run(Rest("x", http).fetch_all([ASK, ASK, ASK]))
    assert len(http.requests) == 2
