"""The transparency log: every record that matters has its place in a tree that only grows.

`merkle.py` and `note.py` are the pure core, `tiles.py` the files, `tree.py` what grows, `commitment.py` what
a leaf says, `worker.py` the one who gives places, `witness.py` those who countersign, `check.py` what finds
out whether any of it was changed.
"""
