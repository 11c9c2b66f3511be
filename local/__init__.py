"""Tools for this machine only: PostgreSQL and Kafka servers for the demo and the tests, and the compiled rules."""
