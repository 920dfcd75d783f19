"""The enforcement point: admit, enforce, reconsider, and the clock."""
