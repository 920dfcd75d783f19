"""A description of each kind of stakeholder to begin with, and which fields can ever reach it."""
