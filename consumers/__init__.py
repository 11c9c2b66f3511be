"""The programs that run for ever, and the ways to them.

engine/            the one writer of a partition: takes commands, decides, appends, replies
kafka/             the parts that speak to Kafka: log, commands, replies, heartbeats, dead letters, topics, feed
projector/         folds the log into the read models
simulation/        random commands on a small exchange, for tests and benchmarks
gateway.py         submits commands to an engine and awaits the replies; `LocalGateway`, for an engine in this process
client.py          the client for other services: submits commands as JSON over Kafka
errors.py          the errors that a sender can get instead of a reply
partitions_gateway.py
                   with several partitions: where a command goes, and how it gets the funds that it lacks there
wiring.py          what the settings name: the log, its recorder, the limits of a batch
run_engine.py      `tidings engine`: an engine as a process of its own
process_tuning.py  the CPU that a process runs on, and how often the garbage collector runs
"""
