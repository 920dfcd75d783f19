"""What the web answers: one noun a file. Who may call what stands in `hub/access.py`."""
