package bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Consent joined to events, a partial view for each recipient that may have one, a decision record for each event, exactly once.
 * Directives are kept as bytes in an in-memory store; what they fold to is cached in the task, so that reading it costs no parsing.
 */
public final class Enforce {
  private static Schema eventSchema, decisionSchema, outboundSchema, directiveSchema;
  private static int eventId, decisionId, outboundId, directiveId;
  private static Rules rules;

  /** One task: its consent and its events have the same partition. */
  static final class Decide implements Processor<String, byte[], String, byte[]> {
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, byte[]> directives;
    private final Map<String, Rules.Standing> folded = new HashMap<>();
    private final GenericDatumReader<GenericRecord> events = new GenericDatumReader<>(eventSchema);
    private final GenericDatumReader<GenericRecord> words = new GenericDatumReader<>(directiveSchema);
    private final GenericDatumWriter<GenericRecord> decisions = new GenericDatumWriter<>(decisionSchema);
    private final GenericDatumWriter<GenericRecord> outbounds = new GenericDatumWriter<>(outboundSchema);
    private final ByteArrayOutputStream buffer = new ByteArrayOutputStream(4096);
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;
    private GenericRecord event;
    private long consentOffset = -1;

    @Override public void init(ProcessorContext<String, byte[]> context) {
      this.context = context;
      this.directives = context.getStateStore("consent");
    }

    @Override public void process(Record<String, byte[]> record) {
      var where = context.recordMetadata().orElseThrow();
      try {
        if (where.topic().equals(System.getProperty("bench.consent"))) remember(record, where.offset());
        else decide(record, where.topic(), where.partition(), where.offset());
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }

    private void remember(Record<String, byte[]> record, long offset) throws IOException {
      decoder = DecoderFactory.get().binaryDecoder(record.value(), 5, record.value().length - 5, decoder);
      ByteBuffer body = (ByteBuffer) words.read(null, decoder).get("body");
      byte[] known = directives.get(record.key());
      ByteBuffer all = ByteBuffer.allocate((known == null ? 0 : known.length) + 4 + body.remaining());
      if (known != null) all.put(known);
      all.putInt(body.remaining()).put(body);
      directives.put(record.key(), all.array());
      folded.remove(record.key());
      consentOffset = offset;
    }

    private Rules.Standing standing(String participant) {
      return folded.computeIfAbsent(participant, p -> {
        Rules.Standing s = new Rules.Standing();
        byte[] known = directives.get(p);
        for (ByteBuffer all = known == null ? ByteBuffer.allocate(0) : ByteBuffer.wrap(known); all.hasRemaining();) {
          byte[] one = new byte[all.getInt()];
          all.get(one);
          Rules.fold(s, one);
        }
        return s;
      });
    }

    @SuppressWarnings("unchecked")
    private void decide(Record<String, byte[]> record, String topic, int partition, long offset) throws IOException {
      decoder = DecoderFactory.get().binaryDecoder(record.value(), 5, record.value().length - 5, decoder);
      event = events.read(event, decoder);
      GenericRecord envelope = (GenericRecord) event.get("envelope");
      Map<String, ByteBuffer> sealed = (Map<String, ByteBuffer>) event.get("sealed");
      String category = envelope.get("category").toString(), discloser = envelope.get("discloser").toString();
      String participant = envelope.get("participant").toString();
      List<String> labels = strings(envelope.get("labels")), carried = strings(envelope.get("compartments"));
      long occurred = (Long) envelope.get("occurred_at"), now = System.currentTimeMillis();
      Rules.Standing standing = standing(participant);
      GenericRecord position = new GenericData.Record(decisionSchema.getField("position").schema());
      position.put("topic", topic); position.put("partition", partition); position.put("offset", offset);
      Schema outcomeSchema = decisionSchema.getField("outcomes").schema().getElementType();
      List<GenericRecord> outcomes = new ArrayList<>();
      Map<String, List<Rules.Outcome>> permitted = new HashMap<>();
      for (Rules.Subscription wanted : rules.wanting(category, discloser)) {
        Rules.Outcome o = rules.decide(wanted, category, discloser, labels, occurred, carried, now, standing);
        GenericRecord out = new GenericData.Record(outcomeSchema);
        out.put("stakeholder", wanted.stakeholder()); out.put("subscription", wanted.id()); out.put("purpose", wanted.purpose());
        out.put("effect", new GenericData.EnumSymbol(outcomeSchema.getField("effect").schema(), o.permit() ? "permit" : "deny"));
        out.put("reason", o.reason()); out.put("basis", o.permit() ? "consent" : null);
        out.put("grants", o.grants()); out.put("compartments", o.compartments()); out.put("obligations", o.obligations());
        outcomes.add(out);
        if (o.permit()) permitted.computeIfAbsent(wanted.stakeholder(), k -> new ArrayList<>(1)).add(o);
      }
      GenericRecord decision = new GenericData.Record(decisionSchema);
      decision.put("id", topic + "/" + partition + "/" + offset);
      decision.put("cause", new GenericData.EnumSymbol(decisionSchema.getField("cause").schema(), "first"));
      decision.put("event", envelope); decision.put("position", position); decision.put("at", now);
      decision.put("consent_offset", consentOffset); decision.put("governance_offset", 0L); decision.put("outcomes", outcomes);
      forward("decisions", participant, write(decisions, decision, decisionId), record.timestamp());
      Schema shareSchema = outboundSchema.getField("shares").schema().getElementType();
      for (var to : permitted.entrySet()) {
        List<GenericRecord> shares = new ArrayList<>(to.getValue().size());
        Map<String, ByteBuffer> copied = new HashMap<>();
        for (Rules.Outcome o : to.getValue()) {
          GenericRecord share = new GenericData.Record(shareSchema);
          share.put("subscription", o.subscription().id()); share.put("purpose", o.subscription().purpose());
          share.put("basis", "consent"); share.put("grants", o.grants());
          share.put("compartments", o.compartments()); share.put("obligations", o.obligations());
          shares.add(share);
          for (String c : o.compartments()) copied.put(c, sealed.get(c));
        }
        GenericRecord outbound = new GenericData.Record(outboundSchema);
        outbound.put("envelope", envelope); outbound.put("sealed", copied); outbound.put("position", position);
        outbound.put("at", now); outbound.put("consent_offset", consentOffset); outbound.put("governance_offset", 0L);
        outbound.put("shares", shares);
        forward("outbox." + to.getKey(), participant, write(outbounds, outbound, outboundId), record.timestamp());
      }
    }

    private byte[] write(GenericDatumWriter<GenericRecord> writer, GenericRecord value, int id) throws IOException {
      buffer.reset();
      buffer.write(0); buffer.write(id >>> 24); buffer.write(id >>> 16); buffer.write(id >>> 8); buffer.write(id);
      encoder = EncoderFactory.get().directBinaryEncoder(buffer, encoder);
      writer.write(value, encoder);
      return buffer.toByteArray();
    }

    private void forward(String child, String key, byte[] value, long timestamp) {
      context.forward(new Record<>(key, value, timestamp), child);
    }

    @SuppressWarnings("unchecked")
    private static List<String> strings(Object value) {
      List<String> out = new ArrayList<>();
      for (Object o : (List<Object>) value) out.add(o.toString());
      return out;
    }
  }

  /** Our schemas without the logical types, which would cost a date object for each time. */
  private static Schema schema(File folder, String file) throws IOException {
    ObjectMapper json = new ObjectMapper();
    JsonNode node = json.readTree(new File(folder, file));
    node.findParents("logicalType").forEach(n -> ((ObjectNode) n).remove("logicalType"));
    node.findParents("values").forEach(n -> ((ObjectNode) n).put("avro.java.string", "String"));  // keys of maps
    String text = json.writeValueAsString(node).replace("\"string\"", "{\"type\":\"string\",\"avro.java.string\":\"String\"}");
    return new Schema.Parser().parse(text);
  }

  private static int id(File folder, String file) throws IOException {
    for (JsonNode row : new ObjectMapper().readTree(new File(folder, "registry.json"))) {
      if (row.get("file").asText().equals(file)) return row.get("id").asInt();
    }
    throw new IllegalStateException(file);
  }

  /** bootstrap application schemas-folder governance.json events-topic consent-topic commit-ms threads state-folder */
  public static void main(String[] args) throws Exception {
    File schemas = new File(args[2]);
    eventSchema = schema(schemas, "event.v1.avsc"); eventId = id(schemas, "event.v1.avsc");
    decisionSchema = schema(schemas, "decision.v1.avsc"); decisionId = id(schemas, "decision.v1.avsc");
    outboundSchema = schema(schemas, "outbound.v1.avsc"); outboundId = id(schemas, "outbound.v1.avsc");
    directiveSchema = schema(schemas, "directive.v1.avsc"); directiveId = id(schemas, "directive.v1.avsc");
    rules = new Rules(Rules.JSON.readTree(new File(args[3])));
    System.setProperty("bench.consent", args[5]);

    Topology topology = new Topology();
    var strings = Serdes.String();
    var bytes = Serdes.ByteArray();
    topology.addSource("events", strings.deserializer(), bytes.deserializer(), args[4]);
    topology.addSource("directives", strings.deserializer(), bytes.deserializer(), args[5]);
    topology.addProcessor("decide", Decide::new, "directives", "events");
    topology.addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("consent"), strings, bytes), "decide");
    topology.addSink("decisions", "decisions", strings.serializer(), bytes.serializer(), "decide");
    rules.subscriptions.stream().map(Rules.Subscription::stakeholder).distinct().forEach(s ->
        topology.addSink("outbox." + s, "outbox." + s, strings.serializer(), bytes.serializer(), "decide"));

    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
    p.put(StreamsConfig.STATE_DIR_CONFIG, args[8]);
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Long.parseLong(args[6]));
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(args[7]));
    p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 262144);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), Long.parseLong(args[6]) <= 10 ? 0 : 20);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 134217728L);
    KafkaStreams streams = new KafkaStreams(topology, p);
    streams.setUncaughtExceptionHandler(e -> {
      e.printStackTrace();
      Runtime.getRuntime().halt(1);  // whoever measures must not wait for what will never come
      throw new IllegalStateException(e);
    });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
    streams.start();
    System.out.println("started");
    Thread.currentThread().join();
  }
}
