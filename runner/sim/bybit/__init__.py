"""Bybit v5, linear contracts, as its documents of 2026 describe it."""
