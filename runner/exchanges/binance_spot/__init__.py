"""Binance spot: market data only; orders are not built yet."""
