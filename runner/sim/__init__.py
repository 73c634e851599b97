"""The exchange simulator: servers that speak each exchange's dialect, a matching engine, faults.

It shares no code with the codecs that speak to it, or one misreading of a protocol would cancel
itself out; of the rest of the project it knows `runner.base` only.
"""
