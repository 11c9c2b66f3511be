"""Servers started on this machine, for the demo and the tests: PostgreSQL and Kafka."""
