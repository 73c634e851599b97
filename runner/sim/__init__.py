"""The exchange simulator: the other end of the wire, sharing no code with the codecs."""
