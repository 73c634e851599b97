"""From a checked file to an immutable plan."""
