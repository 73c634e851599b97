"""The strategy language: YAML nodes, diagnostics, expressions, generated code."""
