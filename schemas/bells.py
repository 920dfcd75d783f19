"""What the clock rings for on `rings`: kinds of `Clock` records that people wait for, not decisions."""

from typing import Final

ALERT: Final = "alert"  # a reminder, or an alert that was put off: its id
ESCALATION: Final = "escalation"  # an alert that nobody took: its id
EXPIRES_SOON: Final = "consent-expires-soon"  # `<consent>/<days>`
FOR_PEOPLE: Final = frozenset({ALERT, ESCALATION, EXPIRES_SOON})
