"""What Binance spot and USD-M futures share: signing rule, frames of streams, error codes."""
