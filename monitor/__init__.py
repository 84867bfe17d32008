"""The room that knows Kafka, Faust, HTTP, the environment and the clock."""
