"""The parts that speak to Kafka.

log                the engine's log
log_settings       our settings as `eventsourcing_kafka` takes them
command_source     the engine's commands, and the replies to them
gateway            sends commands and awaits their replies
heartbeats         between the engines of one partition: who takes over, and when
dead_letters       looking after values that are no commands, and commands that nobody could decide
event_publisher    copies the log to the topic `feed`, one record an event
topics             the topics and their settings
records            reading and sending records by librdkafka
errors             which error of the log each error of a Kafka library becomes
"""
