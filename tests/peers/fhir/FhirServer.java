import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.parser.DataFormatException;
import ca.uhn.fhir.parser.StrictErrorHandler;
import ca.uhn.fhir.rest.annotation.Operation;
import ca.uhn.fhir.rest.annotation.OperationParam;
import ca.uhn.fhir.rest.annotation.Transaction;
import ca.uhn.fhir.rest.annotation.TransactionParam;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.UnprocessableEntityException;
import ca.uhn.fhir.rest.server.provider.HashMapResourceProvider;
import ca.uhn.fhir.util.ResourceReferenceInfo;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IIdType;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CodeType;
import org.hl7.fhir.r4.model.DomainResource;
import org.hl7.fhir.r4.model.Encounter;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Identifier;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Provenance;
import org.hl7.fhir.r4.model.Resource;
import org.hl7.fhir.r4.model.ServiceRequest;
import org.hl7.fhir.r4.model.StringType;

/**
 * A FHIR R4 server that is not ours, for the tests: HAPI's RestfulServer, which validates each transaction against the
 * specification's own profiles, value sets and invariants before it takes it. It keeps what it took in memory. Prints
 * its port, and ends with its standard input.
 */
public class FhirServer {
  static final FhirContext FHIR = FhirContext.forR4();
  static final Map<String, HashMapResourceProvider<?>> KEPT = new HashMap<>();

  public static void main(String[] arguments) throws Exception {
    var known =
        new ValidationSupportChain(
            new DefaultProfileValidationSupport(FHIR),
            new CommonCodeSystemsTerminologyService(FHIR),
            new InMemoryTerminologyServerValidationSupport(FHIR),
            new UnknownCodeSystemWarningValidationSupport(FHIR)); // those that are a program's own
    var validator = new FhirInstanceValidator(known);
    FHIR.setParserErrorHandler(new StrictErrorHandler()); // an element that R4 does not have is refused

    var fhir = new RestfulServer(FHIR);
    for (Class<? extends Resource> kind :
        List.of(Patient.class, Encounter.class, ServiceRequest.class, Provenance.class)) {
      var provider = new HashMapResourceProvider<>(FHIR, kind);
      KEPT.put(kind.getSimpleName(), provider);
      fhir.registerProvider(provider);
    }
    fhir.registerProvider(new Whole(FHIR.newValidator().registerValidatorModule(validator)));

    var server = new Server(new InetSocketAddress("127.0.0.1", 0));
    var context = new ServletContextHandler("/");
    context.addServlet(new ServletHolder(fhir), "/fhir/*");
    server.setHandler(context);
    server.start();
    System.out.println(((ServerConnector) server.getConnectors()[0]).getLocalPort());
    while (System.in.read() >= 0) {}
    server.stop();
  }

  /** What concerns the whole server. */
  public static class Whole {
    private final FhirValidator validator;

    Whole(FhirValidator validator) {
      this.validator = validator;
    }

    /** Every problem with a resource as it was written, as `severity path: message`; and what kind it is. */
    @Operation(name = "$validate")
    public Parameters validate(@OperationParam(name = "text") StringType text) {
      var found = new Parameters();
      for (SingleValidationMessage one : validator.validateWithResult(text.getValue()).getMessages()) {
        found
            .addParameter()
            .setName(one.getSeverity().getCode())
            .setValue(new StringType(one.getLocationString() + ": " + one.getMessage()));
      }
      return found.addParameter("read", new CodeType(kind(text.getValue())));
    }

    private static String kind(String text) {
      try {
        return FHIR.newJsonParser().parseResource(text).fhirType();
      } catch (DataFormatException refused) {
        return "unreadable";
      }
    }

    /**
     * By http://hl7.org/fhir/R4/http.html#transaction: a conditional create leaves what is there, a conditional update
     * replaces it; references among the entries follow to where they are kept. All of it, or nothing.
     */
    @Transaction
    public synchronized Bundle transaction(@TransactionParam Bundle asked) {
      var judged = validator.validateWithResult(asked);
      if (!judged.isSuccessful()) {
        throw new UnprocessableEntityException(FHIR, judged.toOperationOutcome());
      }
      Map<String, IdType> places = new HashMap<>();
      List<Bundle.BundleEntryComponent> stored = new ArrayList<>();
      Bundle answer = new Bundle().setType(Bundle.BundleType.TRANSACTIONRESPONSE);
      for (var entry : asked.getEntry()) {
        var request = entry.getRequest();
        var kind = entry.getResource().fhirType();
        String condition = null;
        IdType named = null;
        if (request.getMethod() == Bundle.HTTPVerb.POST && request.getUrl().equals(kind)) {
          condition = request.hasIfNoneExist() ? request.getIfNoneExist() : null;
        } else if (request.getMethod() == Bundle.HTTPVerb.PUT && request.getUrl().startsWith(kind + "?")) {
          condition = request.getUrl().substring(kind.length() + 1);
        } else if (request.getMethod() == Bundle.HTTPVerb.PUT && request.getUrl().startsWith(kind + "/")) {
          named = new IdType(request.getUrl());
        } else {
          throw new UnprocessableEntityException("no such request: " + request.getUrl());
        }
        Resource there = condition == null ? null : matching(kind, condition);
        boolean leave = there != null && request.getMethod() == Bundle.HTTPVerb.POST;
        if (named == null) {
          named = there != null ? there.getIdElement().toUnqualifiedVersionless() : new IdType(kind, fresh(kind));
        }
        entry.getResource().setId(named);
        places.put(entry.getFullUrl(), named);
        if (!leave) {
          stored.add(entry);
        }
        answer.addEntry().getResponse().setStatus(there == null ? "201 Created" : "200 OK").setLocation(named.getValue());
      }
      for (var entry : stored) {
        for (ResourceReferenceInfo info : FHIR.newTerser().getAllResourceReferences(entry.getResource())) {
          IIdType target = info.getResourceReference().getReferenceElement();
          if (places.containsKey(target.getValue())) {
            info.getResourceReference().setReference(places.get(target.getValue()).getValue());
          } else if (Objects.toString(target.getValue(), "").startsWith("urn:uuid:")) {
            throw new UnprocessableEntityException("a reference leads nowhere: " + target.getValue());
          }
        }
      }
      stored.forEach(entry -> store(entry.getResource()));
      return answer;
    }

    private static String fresh(String kind) {
      return "kept-" + (KEPT.get(kind).getStoredResources().size() + 1);
    }

    /** The one resource with the identifier that `identifier=system|value` names. */
    private static Resource matching(String kind, String condition) {
      String[] parts = condition.replaceFirst("^identifier=", "").split("\\|");
      List<Resource> found = new ArrayList<>();
      for (Object one : KEPT.get(kind).getStoredResources()) {
        var identifiers = ((DomainResource) one).getNamedProperty("identifier").getValues();
        if (identifiers.stream()
            .map(Identifier.class::cast)
            .anyMatch(id -> parts[0].equals(id.getSystem()) && parts[1].equals(id.getValue()))) {
          found.add((Resource) one);
        }
      }
      if (found.size() > 1) {
        throw new PreconditionFailedException("several match");
      }
      return found.isEmpty() ? null : found.get(0);
    }

    @SuppressWarnings("unchecked")
    private static void store(Resource resource) {
      ((HashMapResourceProvider<Resource>) KEPT.get(resource.fhirType())).store(resource);
    }
  }
}
