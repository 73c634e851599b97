"""Bybit's business errors: HTTP 200 with a retCode."""

from __future__ import annotations


class RetError(Exception):
    """A request is answered with a retCode."""

    def __init__(
        self, code: int, msg: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{code} {msg}")
        self.code = code
        self.msg = msg
        self.status = status
        self.headers = headers or {}


def bad_parameter(what: str) -> RetError:
    """10001: a parameter is missing or cannot be read."""
    return RetError(10001, f"params error: {what}")
