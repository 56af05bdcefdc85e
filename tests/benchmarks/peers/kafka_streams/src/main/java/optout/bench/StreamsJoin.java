package optout.bench;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.util.Utf8;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/**
 * Offers that were presented, left-joined with the checkouts of their session: each pair is a verdict, and an offer that
 * no checkout came for is one once its window is over. State is in RocksDB, with changelogs, as it is by default.
 *
 * <p>A pair knows nothing of the others: where a session checks out twice, the checkout that does not name the offer says
 * to call, whatever the other says. And what no checkout came for is told when a later record comes, at most once a
 * second: the last windows before a pause of the topics stay open until it ends.
 *
 * <p>Settings, by the environment: BOOTSTRAP, GROUP, OFFERS, CHECKOUTS, VERDICTS (topics), SCHEMAS (a folder), STATE (a
 * folder), THREADS, WINDOW_MS, LOOKBACK_MS, LATENESS_MS.
 */
public final class StreamsJoin {
    private static final Duration WINDOW = span("WINDOW_MS");
    private static final Duration LOOKBACK = span("LOOKBACK_MS");
    private static final Duration LATENESS = span("LATENESS_MS");

    private final AvroSerde offers = new AvroSerde(schema("offer_presented.avsc"));
    private final AvroSerde checkouts = new AvroSerde(schema("checkout_completed.avsc"));
    private final AvroSerde outcomes = new AvroSerde(schema("offer_outcome.avsc"));
    private final AtomicBoolean begun = new AtomicBoolean();

    public static void main(String[] arguments) throws InterruptedException {
        StreamsJoin join = new StreamsJoin();
        KafkaStreams streams = new KafkaStreams(join.topology().build(settings()), settings());
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(30));
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    private StreamsBuilder topology() {
        StreamsBuilder builder = new StreamsBuilder();
        // The records' timestamps are the events' times.
        KStream<String, GenericRecord> shown =
                builder.stream(env("OFFERS"), Consumed.with(Serdes.String(), offers)).peek((key, value) -> sayBegun());
        KStream<String, GenericRecord> completed =
                builder.stream(env("CHECKOUTS"), Consumed.with(Serdes.String(), checkouts));
        // From lookback before the offer to window after it.
        JoinWindows windows = JoinWindows.ofTimeDifferenceAndGrace(WINDOW, LATENESS).before(LOOKBACK);
        shown.leftJoin(completed, this::verdict, windows, StreamJoined.with(Serdes.String(), offers, checkouts))
                .selectKey((session, outcome) -> outcome.get("partner_code") + "/" + outcome.get("offer_id"))
                .to(env("VERDICTS"), Produced.with(Serdes.String(), outcomes));
        return builder;
    }

    private GenericRecord verdict(GenericRecord offer, GenericRecord checkout) {
        boolean bought = checkout != null && ((List<?>) checkout.get("purchased_offer_ids")).contains(offer.get("offer_id"));
        GenericRecord outcome = outcomes.record();
        for (String name : List.of("offer_id", "partner_code", "session_id", "presented_at",
                "product_code", "country", "currency", "price")) {
            outcome.put(name, offer.get(name));
        }
        outcome.put("outcome", outcomes.symbol("outcome", bought ? "PURCHASED" : "OPTED_OUT"));
        String reason = bought ? "PURCHASED" : checkout != null ? "DECLINED" : "ABANDONED";
        outcome.put("reason", outcomes.symbol("reason", reason));
        outcome.put("checkout_id", checkout == null ? null : checkout.get("checkout_id"));
        long decidedAt = checkout == null
                ? (long) offer.get("presented_at") + WINDOW.toMillis()
                : (long) checkout.get("completed_at");
        outcome.put("decided_at", decidedAt);
        outcome.put("settled_at", System.currentTimeMillis());
        outcome.put("status_code", bought ? null : 204);
        outcome.put("attempts", bought ? 0 : 1);
        outcome.put("source", source());
        outcome.put("mode", outcomes.symbol("mode", "LIVE"));
        return outcome;
    }

    private GenericRecord source() {
        // A joiner is not told where its records stand.
        GenericRecord source = new GenericData.Record(outcomes.schema().getField("source").schema());
        source.put("topic", new Utf8(env("OFFERS")));
        source.put("partition", -1);
        source.put("offset", -1L);
        return source;
    }

    private void sayBegun() {
        if (!begun.get() && begun.compareAndSet(false, true)) {
            System.out.printf("begun %.3f%n", System.currentTimeMillis() / 1000.0);
        }
    }

    private static Properties settings() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, env("GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("BOOTSTRAP"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, env("STATE"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, env("THREADS"));
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // Wait for the other topic before reading on: by default a backlog of one runs ahead of the other more easily.
        settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, 1_000);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 5_000);
        settings.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksSettings.class);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 131_072);
        return settings;
    }

    private static Path schema(String name) {
        return Path.of(env("SCHEMAS"), name);
    }

    private static Duration span(String name) {
        return Duration.ofMillis(Long.parseLong(env(name)));
    }

    private static String env(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set");
        }
        return value;
    }
}
