"""Telling people: pages, a sign of life, the summary of the day (trading.md, section 6)."""
