"""Who takes part: described once, registered once, and every secret shown once."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from consent import Governance
from hub import agency, settings, signing, tokens
from hub.bootstrap import prepare
from hub.governance import canonical
from hub.registration import described
from schemas import codec, topics
from schemas.errors import Invalid
from schemas.topics import partitions_default
from tests.desk import Desk, desk
from tests.stores import opened


def description(**more: Any) -> dict[str, Any]:
    return {
        "id": "harbor-house",
        "name": "Harbor House",
        "role": "service-provider",
        "agreement": {"from": "2026-01-01T00:00:00Z"},
        "treating": True,
        "webhook": "https://example.org/hook",
        "subscriptions": [
            {"purpose": "care-coordination", "categories": ["service", "contact.outreach"]},
            {"purpose": "care-coordination", "categories": ["contact.custody-booking"], "adapter": "alerts"},
        ],
    } | more


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    made = desk(tmp_path)
    yield made
    made.store.close()


def register(at: Desk, **more: Any) -> Any:
    return at.registration.register([described(description(**more))], "test")[0]


def governance(at: Desk) -> Governance:
    """What those who decide make of the log."""
    found = Governance()
    for offset, record in enumerate(at.log.values("governance")):
        found.apply(offset, record)
    return found


def stakeholder(found: Governance) -> Any:
    return next(one for one in found.stakeholders if one.id == "harbor-house")


def test_registering_gives_topics_records_and_a_secret(at: Desk) -> None:
    done = register(at)
    assert done.records == 3
    assert done.webhook_secret is not None
    assert done.webhook_secret.startswith("whsec_")
    assert at.created[-1] == "harbor-house"
    found = governance(at)
    assert stakeholder(found).treating
    wanted = {one.id: one for one in found.subscriptions.values() if one.stakeholder == "harbor-house"}
    assert wanted["harbor-house-care-coordination-webhook"].settings == {"url": "https://example.org/hook"}
    assert wanted["harbor-house-care-coordination-alerts"].adapter == "alerts"


def test_registering_again_changes_nothing_and_shows_no_secret(at: Desk) -> None:
    register(at)
    before = len(at.log.values("governance"))
    again = register(at)
    assert (again.records, again.webhook_secret) == (0, None)
    assert len(at.log.values("governance")) == before


def test_only_a_change_of_what_stood_can_narrow(at: Desk) -> None:
    assert register(at).changed is None
    assert register(at).changed is None
    last = len(at.log.values("governance"))
    assert register(at, medical=True).changed == last
    assert register(at, medical=True, subscriptions=[]).changed == last + 2
    assert at.registration.retire("harbor-house", "test") == last + 3


def test_a_change_writes_what_changed_and_retires_what_is_gone(at: Desk) -> None:
    register(at)
    done = register(at, medical=True, subscriptions=[description()["subscriptions"][0]])
    assert done.records == 2
    found = governance(at)
    assert stakeholder(found).medical
    assert [one.id for one in found.subscriptions.values() if one.stakeholder == "harbor-house"] == [
        "harbor-house-care-coordination-webhook"
    ]


def test_retiring_takes_a_stakeholder_and_its_subscriptions_out(at: Desk) -> None:
    register(at)
    at.registration.retire("harbor-house", "test")
    found = governance(at)
    assert "harbor-house" not in found.stakeholders
    assert not [one for one in found.subscriptions.values() if one.stakeholder == "harbor-house"]
    assert not at.register().registered("harbor-house")
    with pytest.raises(Invalid):
        at.registration.retire("harbor-house", "test")


def test_the_register_and_the_compiled_governance_agree(at: Desk) -> None:
    register(at)
    at.registration.retire("court", "test")
    plain, compiled = at.register(), governance(at)
    assert set(plain.stakeholders) == {one.id for one in compiled.stakeholders}
    assert set(plain.subscriptions) == set(compiled.subscriptions)
    assert plain.offset == compiled.offset


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": "Harbor House"}, "/id"),
        ({"id": "x" * 42}, "/id"),
        ({"role": "judge"}, "/role"),
        ({"agreement": {"from": "yesterday"}}, "/agreement/from"),
        ({"agreement": {"from": "2026-01-01T00:00:00"}}, "/agreement/from"),
        ({"webhook": "ftp://example.org"}, "/webhook"),
        ({"webhook": None}, "/webhook"),
        ({"treatin": True}, "/treatin"),
        ({"subscriptions": [{"purpose": "care", "categories": ["service"]}]}, "/subscriptions/0/purpose"),
        (
            {"subscriptions": [{"purpose": "treatment", "categories": ["serv"]}]},
            "/subscriptions/0/categories/0",
        ),
        ({"subscriptions": [{"purpose": "treatment", "categories": []}]}, "/subscriptions/0/categories"),
        ({"subscriptions": [description()["subscriptions"][0]] * 2}, "/subscriptions/1/id"),
    ],
)
def test_a_description_that_cannot_be_is_refused_with_its_place_and_nothing_is_done(
    at: Desk, change: dict[str, Any], path: str
) -> None:
    before = len(at.log.values("governance"))
    with pytest.raises(Invalid) as caught:
        register(at, **change)
    assert caught.value.path == path
    assert len(at.log.values("governance")) == before
    assert "harbor-house" not in at.created


def test_of_several_one_bad_one_keeps_all_out(at: Desk) -> None:
    both = [described(description()), described(description(id="other", role="judge"))]
    with pytest.raises(Invalid):
        at.registration.register(both, "test")
    assert not at.register().registered("harbor-house")


def test_a_signing_secret_rotates_without_a_gap(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = at.signing.ensure("harbor-house")
    assert at.signing.ensure("harbor-house") is None
    second = at.signing.rotate("harbor-house")
    assert at.signing.webhook("harbor-house") == [second, first]
    assert at.signing.webhook("nobody") == []
    later = signing._now() + signing.OVERLAP_MS + 1
    monkeypatch.setattr(signing, "_now", lambda: later)
    assert at.signing.webhook("harbor-house") == [second]


def test_webhooks_signed_by_a_key_pair_show_the_public_key_alone(at: Desk) -> None:
    shared = register(at).webhook_secret
    done = register(at, webhook_signature="ed25519")
    assert (done.webhook_secret, done.records) == (None, 0)
    assert done.webhook_public_key == at.signing.webhook_public("harbor-house")
    assert done.webhook_public_key.startswith("whpk_")
    newest, oldest = at.signing.webhook("harbor-house")
    assert (newest[:5], oldest) == ("whsk_", shared), "for a day both sign"
    assert newest not in repr(done)
    assert register(at, webhook_signature="ed25519") == done, "it stays"
    renewed = at.signing.rotate("harbor-house")
    assert renewed == at.signing.webhook_public("harbor-house") != done.webhook_public_key
    assert len(at.signing.webhook("harbor-house")) == 2
    assert register(at).webhook_secret.startswith(signing.PREFIX), "and back"
    with pytest.raises(Invalid) as caught:
        register(at, webhook_signature="rsa")
    assert caught.value.path == "/webhook_signature"


def test_who_speaks_kafka_is_let_in_and_shown_the_password_once(at: Desk) -> None:
    done = register(at, kafka=True)
    assert (done.kafka.username, at.users.known) == ("harbor-house", {"harbor-house"})
    assert register(at, kafka=True).kafka is None
    assert register(at).records == 1, "the register says so"
    assert at.users.known == set(), "and it is taken back with it"
    register(at, kafka=True)
    at.registration.retire("harbor-house", "test")
    assert at.users.known == set()


def test_nobody_is_let_in_where_agencies_have_no_way_to_the_brokers(at: Desk) -> None:
    at.registration._kafka = False
    with pytest.raises(Invalid, match="set `kafka_agencies`"):
        register(at, kafka=True)
    assert not at.register().registered("harbor-house")
    assert at.users.known == set()


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKFkJns2cFIBPFZhCUAMZf2z1fLVr5W5R5bf4ObU5q3J"
FOLDER = {"url": "sftp://hub@files.example.org/in", "host_key": HOST_KEY}


def test_a_folder_for_files_is_known_by_its_servers_key(at: Desk) -> None:
    wanted = {"purpose": "care-coordination", "categories": ["service"], "adapter": "sftp"}
    done = register(at, sftp={**FOLDER, "every": "day"}, subscriptions=[wanted])
    assert done.ssh_public_key == at.signing.ssh_public("harbor-house")
    found = at.register().subscriptions["harbor-house-care-coordination-sftp"]
    assert found["settings"] == {**FOLDER, "every": "day", "format": "csv"}


def test_files_for_keys_of_age_need_what_encrypts(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"purpose": "care-coordination", "categories": ["service"], "adapter": "sftp"}
    key = str(pyrage.x25519.Identity.generate().to_public())
    folder = {**FOLDER, "age": [key]}
    register(at, sftp=folder, subscriptions=[wanted])
    assert at.register().subscriptions["harbor-house-care-coordination-sftp"]["settings"]["age"] == [key]
    monkeypatch.setitem(sys.modules, "pyrage", None)  # as where the extra is not installed
    with pytest.raises(Invalid, match="pip install pyrage"):
        register(at, sftp=folder, subscriptions=[wanted])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"sftp": {**FOLDER, "host_key": ""}}, "/sftp"),
        ({"sftp": {**FOLDER, "url": "sftp://files.example.org/in"}}, "/sftp"),
        ({"sftp": {**FOLDER, "every": "week"}}, "/sftp/every"),
        ({"sftp": {"url": FOLDER["url"]}}, "/sftp/host_key"),
        ({"sftp": {**FOLDER, "age": ["age1nonsense"]}}, "/sftp"),
        ({"sftp": {**FOLDER, "age": ["age1"] * 11}}, "/sftp/age"),
        (
            {"subscriptions": [{"purpose": "treatment", "categories": ["service"], "adapter": "sftp"}]},
            "/sftp",
        ),
    ],
)
def test_a_folder_that_cannot_be_is_refused(at: Desk, change: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        register(at, **change)
    assert caught.value.path == path


def test_ways_without_an_address_need_none(at: Desk) -> None:
    several = [
        {"purpose": "treatment", "categories": ["service"], "adapter": adapter}
        for adapter in ("pull", "feed")
    ]
    register(at, webhook=None, subscriptions=several)
    found = at.register().subscriptions
    assert [found[f"harbor-house-treatment-{name}"]["settings"] for name in ("pull", "feed")] == [{}, {}]


def test_a_fhir_server_is_known_by_its_address_and_its_token_is_kept(at: Desk) -> None:
    wanted = {"purpose": "treatment", "categories": ["service"], "adapter": "fhir"}
    with pytest.raises(Invalid) as caught:
        register(at, subscriptions=[wanted])
    assert caught.value.path == "/fhir"
    register(at, fhir="https://ehr.example.org/fhir", subscriptions=[wanted])
    found = at.register().subscriptions["harbor-house-treatment-fhir"]
    assert found["settings"] == {"url": "https://ehr.example.org/fhir"}
    assert at.signing.bearer("harbor-house") is None
    for token in ("first", "second"):
        at.signing.keep_bearer("harbor-house", token)
    assert at.signing.bearer("harbor-house") == "second"
    for bad in ("", "two words", "x\r\nevil: 1", "é", "x" * 8_001):
        with pytest.raises(ValueError, match="a token is"):
            at.signing.keep_bearer("harbor-house", bad)
    assert len(at.signing.webhook("harbor-house")) == 1, "it signs no webhook"


@pytest.mark.parametrize("kept", ["ssh", "bearer"])
def test_the_very_first_secret_may_be_any(at: Desk, kept: str) -> None:
    """The vault makes its key for secrets when the first one is sealed: not within another transaction."""
    if kept == "ssh":
        assert at.signing.ssh_public("harbor-house").startswith("ssh-ed25519 ")
    else:
        at.signing.keep_bearer("harbor-house", "token")
        assert at.signing.bearer("harbor-house") == "token"


def test_the_hubs_key_for_files_stays_until_it_is_renewed(at: Desk) -> None:
    at.signing.rotate("harbor-house")
    first = at.signing.ssh_public("harbor-house")
    assert first.startswith("ssh-ed25519 ")
    assert at.signing.ssh_public("harbor-house") == first
    assert len(at.signing.webhook("harbor-house")) == 1, "it signs no webhook"
    assert at.signing.ssh_public("harbor-house", renew=True) != first
    assert at.signing.ssh("nobody") is None


def test_the_store_holds_no_secret_or_token_in_the_clear(at: Desk, tmp_path: Path) -> None:
    secret = at.signing.rotate("harbor-house").encode()
    at.signing.ssh_public("harbor-house")
    token = tokens.mint(at.store, "harbor-house").encode()
    at.store.close()
    for file in tmp_path.iterdir():
        assert secret not in file.read_bytes()
        assert b"PRIVATE KEY" not in file.read_bytes()
        assert token not in file.read_bytes()


def test_canonical_json_is_one_for_equal_values() -> None:
    assert (
        canonical({"b": [1, None], "a": "é"})
        == '{"a":"é","b":[1,null]}'.encode()
        == canonical({"a": "é", "b": [1, None]})
    )


class TestCommand:
    """`hub agency`, as an operator uses it, on a real broker."""

    @pytest.fixture
    def hub(self, empty_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        given = {"DATA": str(tmp_path), "KAFKA_BOOTSTRAP": empty_kafka, "REPLICATION": "1"}
        for name, value in given.items():
            monkeypatch.setenv(f"HUB_{name}", value)
        monkeypatch.chdir(tmp_path)
        prepare(settings.load(), empty_kafka)
        return lambda *words: CliRunner().invoke(agency.app, words)

    @pytest.mark.broker
    def test_loads_lists_mints_and_refuses(
        self, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "county.json"
        file.write_text(json.dumps({"stakeholder": [description()]}))
        loaded = hub("load", str(file), "--json")
        assert loaded.exit_code == 0, loaded.exception
        (row,) = json.loads(loaded.stdout)
        assert row["token"].startswith(tokens.PREFIX)
        assert row["webhook_secret"].startswith(signing.PREFIX)
        again = json.loads(hub("load", str(file), "--json").stdout)
        secrets = dict.fromkeys(("token", "webhook_secret", "webhook_public_key", "ssh_public_key", "kafka"))
        assert again == [{"id": "harbor-house", "records": 0, **secrets}]

        listed = json.loads(hub("list", "--json").stdout)
        assert [one["id"] for one in listed] == ["harbor-house"]
        assert len(listed[0]["subscriptions"]) == 2

        minted = json.loads(hub("token", "harbor-house", "--json").stdout)
        assert minted["token"] != row["token"]
        wrong = ("add", "court", "--role", "judge", "--name", "C", "--from", "2026-01-01T00:00:00Z")
        for words, said in ((("token", "nobody"), "`nobody`"), (wrong, "/role")):
            refused = hub(*words)
            assert refused.stdout == ""
            assert isinstance(refused.exception, agency.BadDescription)
            assert refused.exception.exit_status == 2
            assert said in refused.exception.detail

        monkeypatch.setattr(agency, "FENCE_MS_MAX", 100)
        unfenced = hub("retire", "harbor-house", "--json")
        assert unfenced.exit_code == 1
        assert json.loads(unfenced.stdout)["fence"] == "closing"
        assert json.loads(hub("list", "--json").stdout) == []
        with opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
            assert tokens.check(store, minted["token"]) is None

    @pytest.mark.broker
    def test_what_is_changed_is_done_when_every_owner_says_so(
        self, hub: Any, tmp_path: Path, empty_kafka: str
    ) -> None:
        file = tmp_path / "county.json"
        file.write_text(json.dumps({"stakeholder": [description()]}))
        assert hub("load", str(file)).exit_code == 0
        told = {"stakeholders": ["harbor-house"], "consent_offset": -1, "governance_offset": 1_000}
        producer = Producer({"bootstrap.servers": empty_kafka})
        for partition in range(partitions_default):
            value = {"acknowledgement": told | {"partition": partition, "at": 1, "owner": "o"}}
            producer.produce("deliveries", codec.encode("Delivery", value), b"", partition)
        assert producer.flush(30) == 0
        file.write_text(json.dumps({"stakeholder": [description(subscriptions=[])]}))
        assert hub("load", str(file)).exit_code == 0
        retired = hub("retire", "harbor-house", "--json")
        assert (retired.exit_code, json.loads(retired.stdout)["fence"]) == (0, "closed")

    def test_a_file_that_is_none_is_refused_before_anything_is_asked(self, tmp_path: Path) -> None:
        for name, content in (
            ("a.toml", b"[[stakeholder]\n"),
            ("b.json", b'{"stakeholder": 5}'),
            ("c.json", b"\xff"),
        ):
            (tmp_path / name).write_bytes(content)
            done = CliRunner().invoke(agency.app, ["load", str(tmp_path / name)])
            assert isinstance(done.exception, agency.BadDescription)
            assert "\n" not in done.exception.detail


def test_every_topic_of_a_stakeholder_can_be_named() -> None:
    named = [topic.name for topic in (*topics.agency_topics("reach"), *topics.stakeholder_topics("reach"))]
    assert {"inbox.reach", "receipts.reach", "outbox.reach"} <= set(named)


def test_a_subscription_on_the_command_line() -> None:
    assert agency._subscription("treatment:service,contact:alerts") == {
        "purpose": "treatment",
        "categories": ["service", "contact"],
        "adapter": "alerts",
    }
    for text in ("treatment", "treatment:", ":service", ""):
        with pytest.raises(agency.BadDescription):
            agency._subscription(text)
