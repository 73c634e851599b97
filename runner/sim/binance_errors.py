"""The errors of Binance, spot and USD-M, with their HTTP status and text."""

from __future__ import annotations

from runner.sim.wire import Reply, json_reply


class ApiError(Exception):
    """A request is answered with an error."""

    def __init__(self, code: int, msg: str, status: int = 400, retry_s: int | None = None) -> None:
        super().__init__(f"{code} {msg}")
        self.code = code
        self.msg = msg
        self.status = status
        self.retry_s = retry_s

    def reply(self) -> Reply:
        """Write the error as an answer."""
        headers = {} if self.retry_s is None else {"Retry-After": str(self.retry_s)}
        return json_reply({"code": self.code, "msg": self.msg}, self.status, headers)


def missing(name: str) -> ApiError:
    """-1102: a mandatory parameter is not there or not readable."""
    return ApiError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def illegal(name: str) -> ApiError:
    """-1130: a parameter has a value it cannot have."""
    return ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")


BAD_SYMBOL = (-1121, "Invalid symbol.")
BAD_SIGNATURE = (-1022, "Signature for this request is not valid.")
TOO_LATE = (-1021, "Timestamp for this request is outside of the recvWindow.")
TOO_EARLY = (-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
