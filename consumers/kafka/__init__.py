"""The parts that speak to Kafka: log, commands, replies, heartbeats, dead letters, topics."""
