package optout.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

/** Avro records of one schema, without any framing. Used by all threads, each with a decoder and an encoder of its own. */
final class AvroSerde implements Serde<GenericRecord> {
    private final Schema schema;
    private final GenericDatumReader<GenericRecord> reader;
    private final GenericDatumWriter<GenericRecord> writer;
    private final ThreadLocal<BinaryDecoder> decoder = new ThreadLocal<>();
    private final ThreadLocal<BinaryEncoder> encoder = new ThreadLocal<>();

    AvroSerde(Path file) {
        try {
            schema = new Schema.Parser().parse(file.toFile());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        reader = new GenericDatumReader<>(schema);
        writer = new GenericDatumWriter<>(schema);
    }

    Schema schema() {
        return schema;
    }

    GenericRecord record() {
        return new GenericData.Record(schema);
    }

    GenericData.EnumSymbol symbol(String field, String name) {
        return new GenericData.EnumSymbol(schema.getField(field).schema(), name);
    }

    @Override
    public Serializer<GenericRecord> serializer() {
        return (topic, value) -> value == null ? null : written(value);
    }

    @Override
    public Deserializer<GenericRecord> deserializer() {
        return (topic, bytes) -> bytes == null ? null : read(bytes);
    }

    private byte[] written(GenericRecord value) {
        ByteArrayOutputStream stream = new ByteArrayOutputStream(512);
        try {
            BinaryEncoder binary = EncoderFactory.get().directBinaryEncoder(stream, encoder.get());
            encoder.set(binary);
            writer.write(value, binary);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return stream.toByteArray();
    }

    private GenericRecord read(byte[] bytes) {
        try {
            BinaryDecoder binary = DecoderFactory.get().binaryDecoder(bytes, decoder.get());
            decoder.set(binary);
            return reader.read(null, binary);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
