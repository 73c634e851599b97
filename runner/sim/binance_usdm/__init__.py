"""Binance USD-M futures as its documents of 2026 describe it."""
