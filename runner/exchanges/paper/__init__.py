"""Paper trading: an exchange that fills orders against real books and sends nothing."""

from runner.exchanges.paper.books import BookView, StreamBook
from runner.exchanges.paper.exchange import PaperExchange
from runner.exchanges.paper.latency import INSTANT, REALISTIC, Latency, LatencyModel
from runner.exchanges.paper.orders import Behaviour

__all__ = [
    "INSTANT",
    "REALISTIC",
    "Behaviour",
    "BookView",
    "Latency",
    "LatencyModel",
    "PaperExchange",
    "StreamBook",
]
