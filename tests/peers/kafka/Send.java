import java.io.FileReader;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** An agency's producer in Java: with the settings of a file it sends a record, and prints the record's offset. */
public class Send {
  public static void main(String[] arguments) throws Exception {
    var settings = new Properties();
    try (var file = new FileReader(arguments[0])) {
      settings.load(file);
    }
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      System.out.println(producer.send(new ProducerRecord<>(arguments[1], arguments[2])).get().offset());
    }
  }
}
