"""The decision point: fold directives, decide, explain. Pure."""
