"""Market state: instruments, books, trades, windows, freshness."""
