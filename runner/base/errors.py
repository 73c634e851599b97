"""Errors, by whose fault they are and by what may have happened to an order.

Every error the program raises on purpose derives from `RunnerError`. Foreign exceptions (aiohttp's,
sqlite3's, picows') are mapped at one door per library and never travel further.
"""

from __future__ import annotations


class RunnerError(Exception):
    """Anything the program can explain: the message says what, where, and what to do."""


class FileError(RunnerError):
    """The user's file is wrong. Exit code 1; carries the diagnostics when there are any."""

    def __init__(self, message: str, diagnostics: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


class UsageError(RunnerError):
    """The command line is wrong. Exit code 2."""


class WorldError(RunnerError):
    """Clock, network, disk, secrets, a second instance: the environment is wrong. Exit code 3."""


class ExchangeError(RunnerError):
    """An exchange answered, or failed to. Subclasses say whether an order may exist."""


class Rejected(ExchangeError):
    """A definitive no: the request had no effect. `code` is the exchange's own."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RateLimited(ExchangeError):
    """Refused for too many requests; nothing was executed. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownOutcome(ExchangeError):
    """The request may or may not have had an effect. Ask by client order id; never resend."""


class Down(ExchangeError):
    """The exchange cannot be reached, or says that it is in maintenance."""
