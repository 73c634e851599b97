"""Wiring of a plan to tasks: live, dry-run, replay."""
