"""`runner bench`: what a decision costs, beside hand-written code that does the same work."""
