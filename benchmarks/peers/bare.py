"""The physical limit: consume events, produce bytes that somebody else decided, in transactions as large.

    python -m benchmarks.peers.bare BOOTSTRAP GROUP EVENTS SAMPLE BATCH

`SAMPLE` holds, pickled, what the hub wrote for some events: for each a list of (topic, key, value).
"""

import pickle
import signal
import sys
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer


def main() -> None:
    """Runs until it is told to stop."""
    bootstrap, group, events, sample_file, batch_records = sys.argv[1:6]
    sample = pickle.loads(Path(sample_file).read_bytes())
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            "queued.max.messages.kbytes": 65536,
            "log_level": 0,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": group,
            "linger.ms": 1,
            "retry.backoff.ms": 2,
            "log_level": 0,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions(30)
    consumer.subscribe([events])
    partitions = len(consumer.list_topics(events, 10).topics[events].partitions)
    print("started", flush=True)
    n = 0
    while running:
        batch = consumer.consume(int(batch_records), 0.05)
        if not batch:
            continue
        producer.begin_transaction()
        for message in batch:
            if message.error():
                raise KafkaException(message.error())
            at = message.partition()
            for topic, key, value in sample[n % len(sample)]:
                producer.produce(topic, value, key, partition=at % partitions)
            n += 1
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30
        )
        producer.commit_transaction(30)
    consumer.close()


if __name__ == "__main__":
    main()
