"""Pure computation: no Kafka, no asyncio, no wall clock."""
