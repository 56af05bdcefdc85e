"""The edge to Kafka: reading, decoding, committing, writing."""
