"""librdkafka's mock cluster with faults that the test orders. The Python client starts one and cannot drive it."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
import pytest

_PRODUCER_TYPE = 0
_PRODUCE_REQUEST = 0
_POINTER = ctypes.c_void_p  # named for each function: by default ctypes cuts a pointer to 32 bits


class ScriptedCluster:
    """A mock cluster of one broker.

    Attributes:
        bootstrap_servers: where clients connect.
    """

    def __init__(self, librdkafka: ctypes.CDLL, cluster: int) -> None:
        self._librdkafka = librdkafka
        self._cluster = _POINTER(cluster)
        bootstraps = librdkafka.rd_kafka_mock_cluster_bootstraps
        bootstraps.restype = ctypes.c_char_p
        self.bootstrap_servers: str = bootstraps(self._cluster).decode()

    def create_topic(self, name: str) -> None:
        """Create a topic of one partition."""
        self._librdkafka.rd_kafka_mock_topic_create(self._cluster, name.encode(), 1, 1)

    def refuse_next_write(self, code: int) -> None:
        """Answer the next produce request with this error code."""
        codes = (ctypes.c_int * 1)(code)
        self._librdkafka.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(_PRODUCE_REQUEST), ctypes.c_size_t(1), codes
        )

    def answer_after(self, milliseconds: int) -> None:
        """Let each answer from now on take so long: requests sent meanwhile are under way together."""
        self._librdkafka.rd_kafka_mock_broker_set_rtt(self._cluster, ctypes.c_int32(1), milliseconds)


@contextmanager
def scripted_cluster() -> Iterator[ScriptedCluster]:
    """Run such a cluster for as long as the context lasts; the test is skipped where librdkafka cannot be loaded."""
    beside = sorted((Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*"))
    path = str(beside[0]) if beside else ctypes.util.find_library("rdkafka")
    if path is None:
        pytest.skip("needs librdkafka as a file of its own: the client's package brings none, nor does the system")
    librdkafka = ctypes.CDLL(path)
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(librdkafka, name).restype = _POINTER
    said = ctypes.create_string_buffer(512)
    conf = _POINTER(librdkafka.rd_kafka_conf_new())
    # It connects to nothing; what it says of that is no news.
    librdkafka.rd_kafka_conf_set(conf, b"log_level", b"0", said, ctypes.c_size_t(len(said)))
    owner = _POINTER(librdkafka.rd_kafka_new(_PRODUCER_TYPE, conf, said, ctypes.c_size_t(len(said))))
    assert owner, said.value
    cluster = librdkafka.rd_kafka_mock_cluster_new(owner, 1)
    try:
        yield ScriptedCluster(librdkafka, cluster)
    finally:
        librdkafka.rd_kafka_mock_cluster_destroy(_POINTER(cluster))
        librdkafka.rd_kafka_destroy(owner)
