"""Doors to the outside: what brings messages to the engine, and what is let in."""
