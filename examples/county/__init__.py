"""A synthetic county: invented people, their consents, and the agencies that tell each other about them."""
