"""Bybit v5: linear perpetuals; the public side serves spot too."""
