"""Topics that are shared with records of another kind: read as `input.….when` has them read."""

from __future__ import annotations

from simulation.workload.scenario import OF_ANOTHER_KIND
from simulation.world.several import CopyingCodec

from consumer.codecs.codec import Codec, Headers, Shown, no_headers
from consumer.codecs.plain import PlainCodec
from consumer.events import CheckoutCompleted
from consumer.settings import InputsSettings

WHEN = "kind == 'OURS'"
"""What the settings say then, of both inputs."""


class PassingCodec:
    """Passes over what is of another kind; else as another codec reads it."""

    def __init__(self, ours: Codec) -> None:
        self._ours = ours
        self.encode_outcome = ours.encode_outcome
        self.close = ours.close

    def decode_offer(self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers) -> Shown:
        return None if value == OF_ANOTHER_KIND else self._ours.decode_offer(key, value, offset, headers)

    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted | None:
        return None if value == OF_ANOTHER_KIND else self._ours.decode_checkout(key, value, offset, headers)


def codec_of(inputs: InputsSettings) -> Codec:
    """How a process with these settings reads the world's records."""
    codec: Codec = PlainCodec() if inputs.offers.each is None else CopyingCodec()
    return codec if inputs.offers.when is None else PassingCodec(codec)
