"""The throughput of the broker alone, measured by Kafka's own tool: an upper limit for everything else.

    python -m bench broker [--records 1000000] [--bytes 300]

`ProducerPerformance`, one of Kafka's Java tools, writes records to a topic as fast as it can. Its jar is fetched once and
checked against its hash, like those of the broker (bench/broker_jars.txt).
"""

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from kafka import KafkaAdminClient

from bench.parts import show
from local import jars
from local.kafka import Broker, java

KEYS: Final = {
    "produced_records_per_s": "records per second from one Java producer, acknowledged by all replicas",
    "produced_mb_per_s": "the same in MB per second",
    "record_bytes": "size of each record in bytes",
}

TOPIC: Final = "ceiling"
JARS: Final = Path(__file__).with_name("broker_jars.txt")


def produce(bootstrap: str, records: int, size: int) -> tuple[float, float]:
    """Run the tool. Return records and MB per second."""
    path = os.pathsep.join(map(str, [*jars.fetch(), *jars.fetch(lock_file=JARS)]))
    command = [str(java()), "-Xmx256m", "-cp", path, "org.apache.kafka.tools.ProducerPerformance"]
    command += ["--topic", TOPIC, "--num-records", str(records), "--record-size", str(size), "--throughput", "-1"]
    command += ["--producer-props", f"bootstrap.servers={bootstrap}", "acks=all", "batch.size=262144", "linger.ms=5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603  # our own
    found = re.findall(r"([\d.]+) records/sec \(([\d.]+) MB/sec\)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[-1][0]), float(found[-1][1])


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=300, help="size of each record")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder, Broker(Path(folder)) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        admin.close()
        records, megabytes = produce(broker.bootstrap, arguments.records, arguments.bytes)
    print(f"one Java producer: {records:,.0f} records/s of {arguments.bytes} bytes, {megabytes:.0f} MB/s")
    figures = {"produced_records_per_s": round(records), "produced_mb_per_s": round(megabytes, 1)}
    show({**figures, "record_bytes": arguments.bytes}, KEYS)


if __name__ == "__main__":
    main()
