"""Runs the service with an admin client whose `describe_topics` times out while FILE says `deaf`, as when the broker
that it asks (the controller that the metadata names) is frozen while those that lead the partitions are well."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

if __name__ == "__main__":
    path = Path(sys.argv.pop(1))
    heard = AdminClient.describe_topics

    def describe_topics(self, topics, **more):
        if path.read_text().strip() != "deaf":
            return heard(self, topics, **more)
        answers = {topic: Future() for topic in topics.topic_names}

        def fail():
            for one in answers.values():
                one.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))

        threading.Timer(float(more.get("request_timeout", 5.0)), fail).start()
        return answers

    AdminClient.describe_topics = describe_topics
    from consumer.cli import program

    program()
