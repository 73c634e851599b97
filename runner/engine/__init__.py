"""The pure trading state machine: events in, commands out."""
