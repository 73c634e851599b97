"""Sockets, HTTP, time sync and rate budgets; knows no exchange."""
