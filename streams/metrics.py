"""What the stages tell Prometheus. Labels are names of stages, topics, reasons: never of people."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SIZES: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)

LAG: Final = Gauge("hub_lag_records", "Committed records not yet handled", ["stage", "topic", "partition"])
BATCH: Final = Histogram("hub_batch_records", "Records per transaction", ["stage"], buckets=_SIZES)
TRANSACTION: Final = Histogram(
    "hub_transaction_seconds", "From a batch in hand to its commit", ["stage"], buckets=_SECONDS
)
ABORTS: Final = Counter("hub_aborts_total", "Transactions begun and not committed", ["stage", "reason"])
LATENCY: Final = Histogram(
    "hub_decision_latency_seconds", "From admission to decision, once a batch: its oldest", buckets=_SECONDS
)
OUTCOMES: Final = Counter("hub_outcomes_total", "Outcomes by effect and reason", ["effect", "reason"])
ADMITTED: Final = Counter("hub_admitted_total", "What became of what came in", ["status", "type"])
PARKED: Final = Gauge("hub_parked_events", "Events about people whom nobody has linked yet", ["agency"])
PARKED_AGE: Final = Gauge("hub_parked_oldest_seconds", "Age of the oldest of them", ["agency"])
QUARANTINED: Final = Counter("hub_quarantined_total", "Records put into quarantine", ["stage", "reason"])
UNCOUNTED: Final = Counter("hub_uncounted_total", "Events that no aggregate counts, by why", ["reason"])
