package bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

/** The part of the disclosure rule that the benchmark's events and directives can reach, compiled once. */
final class Rules {
  static final ObjectMapper JSON = new ObjectMapper();

  record Stakeholder(String id, String role, boolean treating, long from, long until) {
    boolean inForce(long at) { return from <= at && at <= until; }
    boolean inClass() {
      return treating && !Set.of("police", "prosecutor", "public-defender", "court").contains(role);
    }
  }

  record Subscription(String id, String stakeholder, String purpose, List<String> categories) {}

  record Grant(String name, Set<String> disclosers, Set<String> recipients, Set<String> purposes,
      List<String> categories, Set<String> labels, Set<String> compartments, long from, long until) {}

  record Consent(String id, long signed, long starts, long expires, boolean proceedingsOnly, List<Grant> grants) {}

  record Restriction(Set<String> recipients, Set<String> purposes, List<String> categories, Set<String> labels) {}

  /** What one participant's directives add up to. */
  static final class Standing {
    final Map<String, Consent> consents = new HashMap<>();
    final Set<String> revoked = new HashSet<>();
    final Map<String, Restriction> restrictions = new HashMap<>();
  }

  record Outcome(Subscription subscription, boolean permit, String reason, List<String> grants,
      List<String> compartments, List<String> obligations) {}

  final Map<String, Stakeholder> stakeholders = new HashMap<>();
  final List<Subscription> subscriptions = new ArrayList<>();
  private final Map<String, Set<String>> matrix = new HashMap<>();
  private final Map<String, List<Subscription>> wanting = new ConcurrentHashMap<>();  // threads share it

  Rules(JsonNode governance) {
    for (JsonNode s : governance.get("stakeholders")) {
      JsonNode a = s.get("agreement");
      stakeholders.put(s.get("id").asText(), new Stakeholder(s.get("id").asText(), s.get("role").asText(),
          s.path("treating").asBoolean(), instant(a.get("from"), Long.MIN_VALUE), instant(a.get("until"), Long.MAX_VALUE)));
    }
    for (JsonNode s : governance.get("subscriptions")) {
      subscriptions.add(new Subscription(s.get("id").asText(), s.get("stakeholder").asText(),
          s.get("purpose").asText(), strings(s.get("categories"))));
    }
    JsonNode policy = governance.get("policy");
    for (JsonNode c : policy.get("categories")) {
      String category = c.asText();
      for (JsonNode row : policy.get("matrix")) {
        if (!covers(row.get("category").asText(), category)) continue;
        for (JsonNode purpose : row.get("purposes")) {
          matrix.computeIfAbsent(row.get("role").asText() + "|" + category + "|" + purpose.asText(), k -> new TreeSet<>())
              .addAll(strings(row.get("compartments")));
        }
      }
    }
  }

  List<Subscription> wanting(String category, String discloser) {
    return wanting.computeIfAbsent(category + "|" + discloser, k -> subscriptions.stream()
        .filter(s -> !s.stakeholder().equals(discloser) && s.categories().stream().anyMatch(c -> covers(c, category)))
        .toList());
  }

  static void fold(Standing standing, byte[] body) {
    try {
      JsonNode d = JSON.readTree(body);
      switch (d.get("type").asText()) {
        case "consent-granted" -> {
          JsonNode c = d.get("consent");
          List<Grant> grants = new ArrayList<>();
          boolean dedicated = true;
          for (JsonNode g : c.get("grants")) {
            Set<String> purposes = set(g.get("purposes"));
            dedicated &= purposes.equals(Set.of("proceedings"));
            grants.add(new Grant(c.get("id").asText() + "/" + g.get("id").asText(), set(g.get("disclosers")),
                set(g.get("recipients")), purposes, strings(g.get("categories")), set(g.get("labels")),
                set(g.get("compartments")), instant(g.get("data_from"), Long.MIN_VALUE),
                instant(g.get("data_until"), Long.MAX_VALUE)));
          }
          standing.consents.putIfAbsent(c.get("id").asText(), new Consent(c.get("id").asText(),
              instant(c.get("signed_at"), 0), instant(c.get("starts_at"), 0),
              instant(c.get("expires_at"), Long.MAX_VALUE), dedicated, grants));
        }
        case "consent-revoked" -> {
          String id = d.get("consent_id").asText();
          List<String> recipients = strings(d.get("recipients"));
          List<String> grants = strings(d.get("grants"));
          if (recipients.isEmpty() && grants.isEmpty()) standing.revoked.add(id);
          for (String r : recipients) standing.revoked.add(id + ">" + r);
          for (String g : grants) standing.revoked.add(id + "/" + g);
        }
        case "restriction-placed" -> {
          JsonNode r = d.get("restriction");
          standing.restrictions.put(r.get("id").asText(), new Restriction(set(r.get("recipients")),
              set(r.get("purposes")), strings(r.get("categories")), set(r.get("labels"))));
        }
        case "restriction-lifted" -> standing.restrictions.remove(d.get("restriction_id").asText());
        default -> throw new IllegalArgumentException("the benchmark has no such directive");
      }
    } catch (java.io.IOException e) {
      throw new IllegalStateException(e);
    }
  }

  Outcome decide(Subscription wanted, String category, String discloser, List<String> labels, long occurred,
      List<String> carried, long at, Standing standing) {
    Stakeholder recipient = stakeholders.get(wanted.stakeholder());
    if (!recipient.inForce(at)) return deny(wanted, "no-agreement");
    String purpose = wanted.purpose();
    Set<String> allowed = matrix.get(recipient.role() + "|" + category + "|" + purpose);
    if (allowed == null) return deny(wanted, "role");
    List<String> names = new ArrayList<>();
    Set<String> compartments = new HashSet<>();
    boolean all = false, revoked = false, expired = false, early = false;
    for (Consent consent : standing.consents.values()) {
      if (purpose.equals("proceedings") && !consent.proceedingsOnly()) continue;
      for (Grant grant : consent.grants()) {
        boolean named = grant.recipients().contains(recipient.id());
        if (!(named || recipient.inClass() && grant.recipients().contains("class:treating-provider"))) continue;
        if (!grant.purposes().contains(purpose)) continue;
        if (!(grant.disclosers().contains(discloser)
            || grant.disclosers().contains("*") && stakeholders.get(discloser).inForce(at))) continue;
        if (grant.categories().stream().noneMatch(c -> covers(c, category))) continue;
        if (!grant.labels().containsAll(labels)) continue;
        if (occurred < grant.from() || occurred > grant.until()) continue;
        boolean back = standing.revoked.contains(consent.id()) || standing.revoked.contains(grant.name())
            || standing.revoked.contains(consent.id() + ">" + recipient.id());
        boolean over = at > consent.expires();
        boolean before = at < consent.starts() || at < consent.signed();
        if (!back && !over && !before) {
          names.add(grant.name());
          if (grant.compartments().contains("*")) all = true; else compartments.addAll(grant.compartments());
        }
        revoked |= back && !over && !before;
        expired |= over && !back && !before;
        early |= before && !back && !over;
      }
    }
    if (purpose.equals("proceedings") && names.isEmpty()) return deny(wanted, "proceedings");
    for (Restriction r : standing.restrictions.values()) {
      if ((r.recipients().contains("*") || r.recipients().contains(recipient.id())
              || recipient.inClass() && r.recipients().contains("class:treating-provider"))
          && (r.purposes().contains("*") || r.purposes().contains(purpose))
          && r.categories().stream().anyMatch(c -> c.equals("*") || covers(c, category))
          && (r.labels().contains("*") || labels.stream().anyMatch(r.labels()::contains))) {
        return deny(wanted, "restriction");
      }
    }
    if (names.isEmpty()) return deny(wanted, revoked ? "revoked" : expired ? "expired" : early ? "not-started" : "no-consent");
    List<String> permitted = new ArrayList<>();
    for (String c : carried) if (allowed.contains(c) && (all || compartments.contains(c))) permitted.add(c);
    if (permitted.isEmpty()) return deny(wanted, "nothing-shareable");
    permitted.sort(null);
    names.sort(null);
    List<String> obligations = labels.contains("part2")
        ? List.of("attach-consent-scope", "attach-part2-notice", "no-redisclosure", "not-for-proceedings", "record-disclosure")
        : List.of("attach-consent-scope", "no-redisclosure", "record-disclosure");
    return new Outcome(wanted, true, "consent", names, permitted, obligations);
  }

  private static Outcome deny(Subscription wanted, String reason) {
    return new Outcome(wanted, false, reason, List.of(), List.of(), List.of());
  }

  static boolean covers(String wide, String narrow) {
    return narrow.startsWith(wide) && (narrow.length() == wide.length() || narrow.charAt(wide.length()) == '.');
  }

  private static long instant(JsonNode node, long missing) {
    return node == null || node.isNull() ? missing : OffsetDateTime.parse(node.asText()).toInstant().toEpochMilli();
  }

  private static List<String> strings(JsonNode node) {
    if (node == null || node.isNull()) return List.of();
    String[] out = new String[node.size()];
    for (int i = 0; i < out.length; i++) out[i] = node.get(i).asText().intern();
    return Arrays.asList(out);
  }

  private static Set<String> set(JsonNode node) { return new HashSet<>(strings(node)); }
}
