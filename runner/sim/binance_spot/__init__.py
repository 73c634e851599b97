"""Binance spot, the public side."""
