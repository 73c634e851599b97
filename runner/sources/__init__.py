"""Signals from outside."""
