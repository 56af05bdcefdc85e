"""What the deployment knows of the checkouts, and their log by itself does not tell.

A log that still has its first offset looks as if nothing had ever been deleted. But it may be a new one, under the name
of one that was deleted; or it may have lost its end. What was bought in the part that is lost would be called. The
deployment's positions name the topic that they were committed for, and say up to when checkouts are lost for good.
"""

from __future__ import annotations

from contextlib import closing

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ..codecs.plain import PlainCodec
from ..core.checkpoint import each_of
from ..core.provenance import Provenance
from ..core.watermark import Side
from ..errors import PositionsError, StartError
from ..kafka.clients import Clients
from ..kafka.end_offsets import bounds
from ..kafka.history import GroupHistory
from ..kafka.leader_epochs import CutLogs
from ..kafka.positions import Doubt, check_partition_count, check_told, in_words
from ..kafka.start_offsets import StartOffsets
from ..runtime.tasks import rules_of
from ..settings import Settings

_SAYS_NOTHING_OF_THE_LOG = frozenset({Doubt.GONE, Doubt.OTHER_API, Doubt.OTHER_EACH, Doubt.OTHER_MAPPING})
"""What retention has deleted is told by where the log begins; the others are about calls and offers."""


def lost_checkouts(
    clients: Clients, admin: AdminClient, settings: Settings, partitions: int, provenance: Provenance, *, is_new: bool
) -> dict[int, int]:
    """By partition, the time (ms) below which checkouts may be gone for good; `MIN_TIME`: none is.

    A deployment that has never run has nothing to say: the very first checkout that is there then counts as the first
    one that there was, as at a first start.

    Args:
        clients: of the deployment.
        admin: asks what else is known of its group.
        settings: of the deployment.
        partitions: how many partitions each of the two topics has.
        provenance: whose a commit of the deployment would be.
        is_new: the backfill has committed nothing. Else it has seen that before, and its own positions tell the rest.

    Raises:
        PositionsError: its positions are in doubt, or gone.
        StartError: the broker does not tell, or the topics had another number of partitions.
    """
    kafka = settings.kafka
    history = GroupHistory(admin, clients.record_reader, kafka, PlainCodec().decode_outcome)
    each = each_of(settings.input.offers.each)
    cut_logs = CutLogs(clients.epoch_reader)
    starts = StartOffsets(kafka, rules_of(settings.join), partitions, provenance, history, each, cut_logs)
    try:
        with closing(clients.member(lambda error: None)) as consumer:
            positions = starts.positions(consumer, with_cuts=True)
            if positions.none_at_all:
                if is_new:
                    starts.check_really_new()
                return {}
            places = [TopicPartition(kafka.checkout_topic, partition) for partition in range(partitions)]
            logs = {(Side.CHECKOUTS, place.partition): bounds(consumer, place) for place in places}
        check_partition_count(kafka.group_id, positions, partitions)
        check_told(kafka.group_id, positions, provenance)
        doubts = [one for one in positions.doubts(provenance, logs) if one.doubt not in _SAYS_NOTHING_OF_THE_LOG]
        if doubts:
            raise PositionsError(f"group {kafka.group_id}: its positions are in doubt:\n{in_words(doubts)}")
    except KafkaException as error:
        raise StartError(
            f"group {kafka.group_id}: the broker does not tell where the deployment stands: {error.args[0].str()}. "
            "Check the broker, then start again; nothing was called."
        ) from error
    except PositionsError as error:
        raise PositionsError(
            f"{error}\nA backfill goes by what the deployment knows of the checkouts: by itself it would take a log "
            "that was made anew, or has lost its end, for a whole one, and would call what was bought in the lost "
            "part. Nothing was called. See that `kafka.group_id` is the deployment's, and answer what `opt-out "
            "positions` asks; then give the same command again."
        ) from error
    return {partition: positions.by_place[Side.OFFERS, partition].lost_below for partition in range(partitions)}
