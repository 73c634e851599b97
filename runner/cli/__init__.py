"""Arguments, output, exit codes."""
