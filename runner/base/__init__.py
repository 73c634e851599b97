"""Errors, units, clocks, identifiers: what every floor above stands on."""
