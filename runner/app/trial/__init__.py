"""Tests beside the rules: the real engine and the paper exchange in virtual time."""
