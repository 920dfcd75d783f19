"""The composition root, and everything people touch."""
