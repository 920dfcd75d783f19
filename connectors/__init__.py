"""One adapter per protocol, one mapping format, one delivery engine."""
