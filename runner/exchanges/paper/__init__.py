"""Paper trading: an exchange that fills orders against real books and sends nothing."""

from runner.exchanges.paper.books import BookView, StreamBook
from runner.exchanges.paper.exchange import PaperExchange
from runner.exchanges.paper.latency import INSTANT, REALISTIC, Latency, LatencyModel
from runner.exchanges.paper.orders import Behaviour
from runner.exchanges.paper.shadow import CONTESTED, SLOWER, Haircut, Shadow

__all__ = [
    "CONTESTED",
    "INSTANT",
    "REALISTIC",
    "SLOWER",
    "Behaviour",
    "BookView",
    "Haircut",
    "Latency",
    "LatencyModel",
    "PaperExchange",
    "Shadow",
    "StreamBook",
]
