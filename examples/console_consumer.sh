#!/usr/bin/env bash
# Print Tocsin's alerts with Kafka's console consumer: from the beginning, one JSON a line, after the episode's id.
#
#   KAFKA=127.0.0.1:9092 PREFIX=tocsin. examples/console_consumer.sh [--max-messages 10]
#
# The consumer is kafka-console-consumer.sh on the PATH or in $KAFKA_HOME/bin; where only Kafka's jars are at hand,
# KAFKA_LIBS names their folder.
set -euo pipefail

arguments=(
  --bootstrap-server "${KAFKA:-127.0.0.1:9092}"
  --topic "${PREFIX:-tocsin.}alerts"
  --from-beginning
  --property print.key=true
  "$@"
)
if [[ -n "${KAFKA_LIBS:-}" ]]; then
  exec java -cp "$KAFKA_LIBS/*" org.apache.kafka.tools.consumer.ConsoleConsumer "${arguments[@]}"
fi
exec "${KAFKA_HOME:+$KAFKA_HOME/bin/}kafka-console-consumer.sh" "${arguments[@]}"
