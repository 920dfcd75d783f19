"""The contract: topics, record schemas, models of what comes in, and the errors. No I/O."""
