"""Journal and recordings."""
