"""Exchange codecs (sans-IO), one folder each, and the paper exchange."""
