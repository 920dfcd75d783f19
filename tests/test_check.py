"""Whatever is changed in the log, in its topics or in the store is found, and named."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from hub import casetables, cli, tables, watchtables
from hub.acts import ASSIGNED
from hub.audit import Different
from hub.auditor import PROJECTION
from hub.kek import LocalKek
from hub.ledger.check import Check, Finding
from hub.ledger.commitment import SOURCES, Salts, commitment, recorded
from hub.ledger.merkle import Unproven
from hub.ledger.note import Checkpoint, Signer
from hub.ledger.proof import Proof, Prover, Unplaced
from hub.ledger.reading import Found
from hub.ledger.rows import PLACED, Rows
from hub.ledger.tree import Tree
from hub.projections import project, read
from hub.store import Store
from hub.vault import Vault
from schemas import codec
from schemas.errors import Erased
from tests.test_auditor import act, decision, parcel
from tests.test_watching import consent

SIGNER = Signer("hub.example/log", b"\7" * 32)
PARTITIONS = 2


def quarantined(number: int) -> bytes:
    """A record that was refused."""
    why = {"reason": "not-json", "detail": "it is not JSON", "path": None, "position": None}
    kept = {"via": "http", "size": 1, "sealed": b"x", "headers": None}
    named = {"id": f"q-{number}", "stage": "gateway", "agency": "reach", "at": number}
    return codec.encode("Quarantined", named | why | kept)


def parked(event: str, at: int, *, released: bool = False) -> bytes:
    """A record of an event about somebody unknown."""
    value = {"agency": "county-jail", "local": "0" * 64, "event": event, "at": at}
    return codec.encode("Parked", value | {"consent_at_least": None, "sealed": b"x", "released": released})


class Hub:
    """Topics in memory, the log that stands for them, and the store that was made of them."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self.log = path / "log"
        self.store = store
        self.vault = Vault(store, LocalKek(bytes(range(32))))
        self.salts = Salts(self.vault)
        self.topics: dict[tuple[str, int], list[Found]] = {("ledger", 0): []}
        self.leaves = 0

    def partitions(self, topic: str) -> list[int]:
        return sorted(number for name, number in self.topics if name == topic)

    def read(self, topic: str, partition: int) -> Iterator[Found]:
        return iter(list(self.topics[topic, partition]))

    def write(self, topic: str, partition: int, key: str, value: bytes) -> None:
        records = self.topics.setdefault((topic, partition), [])
        offset = records[-1].offset + 1 if records else 0
        records.append(Found(offset + (offset % 5 == 4), key.encode(), value))  # a marker now and then

    def fill(self, count: int) -> None:
        """Records of every kind, each with its place, and a checkpoint at the end."""
        for number in range(count):
            who = f"p-{number % 50}"  # as `decision` has it
            self.write("decisions", number % 2, who, codec.encode("Decision", decision(number)))
            receipt = parcel(number) | {
                "attempt": 1,
                "outcome": "delivered",
                "code": "ok",
                "at": 11,
                "next_at": None,
            }
            self.write("deliveries", number % 2, "p-1", codec.encode("Delivery", {"receipt": receipt}))
            rule = json.dumps({"type": "consent-revoked", "consent_id": f"c-{number}"}).encode()
            directive = {"id": f"d-{number}", "participant": who, "sender": "s", "recorded_at": 1}
            directive |= {"type": "consent-revoked", "body": rule}
            self.write("consent", number % 2, who, codec.encode("Directive", directive))
            access = act("explanation-read", event=f"e-{number}") | {
                "principal": "officer",
                "participant": who,
            }
            self.write("access", 0, "officer", codec.encode("Access", access))
            work = act("alert-acknowledged", alert=f"a-{number}") | {"by": "me", "participant": who}
            self.write("work", 0, who, codec.encode("Work", work))
            self.write("quarantine", number % 2, f"q-{number}", quarantined(number))
            change = {"kind": "stakeholder", "id": f"s-{number}", "at": 1, "by": "operator", "body": b"{}"}
            self.write("governance", 0, f"s-{number}", codec.encode("Governance", change))
        self.place()
        self.sign()
        self.project()

    def place(self) -> None:
        tree = Tree(self.log)
        for (topic, partition), records in sorted(self.topics.items()):
            after = tree.state.positions.get((topic, partition), 0)
            fresh = [record for record in records if record.offset >= after]
            if topic not in SOURCES or not fresh:
                continue
            of = [recorded(topic, partition, *record) for record in fresh]
            offsets, leaves = [record.offset for record in fresh], self.salts.leaves(of)
            run = {"first": tree.size, "topic": topic, "partition": partition}
            run["leaves"] = [
                {"offset": offset, "commitment": leaf} for offset, leaf in zip(offsets, leaves, strict=True)
            ]
            tree.add((topic, partition), offsets, leaves, tree.size)
            self.write("ledger", 0, "", codec.encode("Ledger", {"at": 1, "run": run}))
        tree.save()
        self.leaves = tree.size

    def sign(self) -> None:
        tree = Tree(self.log)
        note = SIGNER.sign(Checkpoint("hub.example/log", tree.size, tree.root()).text)
        self.write(
            "ledger",
            0,
            "",
            codec.encode("Ledger", {"at": 1, "checkpoint": {"size": tree.size, "note": note}}),
        )
        tree.publish(note)

    def project(self) -> None:
        with self.store.write() as connection:
            for place, records in self.topics.items():
                if place[0] == "ledger":
                    continue
                project(connection, [read(*place, record.offset, record.value or b"") for record in records])
                row = {"projection": PROJECTION, "topic": place[0], "partition": place[1]}
                connection.execute(
                    tables.offsets.delete().where(
                        tables.offsets.c.topic == place[0], tables.offsets.c.partition == place[1]
                    )
                )
                connection.execute(tables.offsets.insert().values(**row, position=records[-1].offset + 1))

    def look(self, *, rows: bool = False) -> list[Finding]:
        """What is found in log and topics, and with `rows` in the store."""
        beside = Path(tempfile.mkdtemp(dir=self.path))
        check = Check(self, self.log, beside, SIGNER.verifier, self.salts)
        if rows:
            with Rows(self.store, self, beside) as again:
                found = [*check.log(), *check.records(again.see), *again.differences()]
        else:
            found = [*check.log(), *check.records(lambda record: None)]
        self.counts = check.counts
        shutil.rmtree(beside)
        return found

    def change(self, topic: str, partition: int, place: int, **fields: Any) -> Found:
        """Puts another record in the place of one."""
        records = self.topics[topic, partition]
        records[place] = records[place]._replace(**fields)
        return records[place]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    path = tmp_path_factory.mktemp("hub")
    store = Store(f"sqlite:///{path / 'hub.db'}")
    store.migrate()
    made = Hub(path, store)
    made.fill(70)
    made.fill(40)
    yield made
    store.close()


@pytest.fixture
def hub(filled: Hub, tmp_path: Path) -> Hub:
    """The same hub each time, its log and topics to be spoilt."""
    made = Hub(tmp_path, filled.store)
    shutil.copytree(filled.log, made.log)
    made.topics = {place: list(records) for place, records in filled.topics.items()}
    made.leaves = filled.leaves
    return made


def test_where_nothing_was_changed_nothing_is_found(hub: Hub) -> None:
    assert hub.look(rows=True) == []
    assert (hub.counts.leaves, hub.counts.records, hub.counts.checkpoints) == (660, 660, 2)
    hub.write("access", 0, "officer", hub.topics["access", 0][0].value or b"")
    assert hub.look() == []
    assert (hub.counts.waiting, hub.counts.erased) == (1, 0)


def test_where_a_salt_is_gone_nothing_is_found_but_counted(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    store.migrate()
    hub = Hub(tmp_path, store)
    hub.fill(20)
    hub.vault.destroy("p-1")
    assert hub.look() == []
    assert hub.counts.erased == 24  # its decision, directive, access and work, and every receipt
    erased = act("erased") | {"principal": "operator", "participant": "p-1"}
    hub.write("access", 0, "operator", codec.encode("Access", erased))
    hub.write("decisions", 1, "p-1", codec.encode("Decision", decision(1)))
    hub.place()
    hub.sign()
    assert hub.look() == []
    assert hub.counts.erased == 25  # that it was erased is provable for ever, what is decided later is not
    prover = Prover(hub.log, hub.salts)
    act_of, old, later = (
        recorded(topic, partition, *hub.topics[topic, partition][place])
        for topic, partition, place in (("access", 0, -1), ("access", 0, 1), ("decisions", 1, -1))
    )
    assert prover.prove(act_of).check(act_of.statement, SIGNER.verifier).size == hub.leaves
    for gone in (old, later):
        with pytest.raises(Erased):
            prover.prove(gone)
    store.close()


def files(log: Path) -> list[str]:
    return sorted(str(path.relative_to(log)) for path in (log / "tile").rglob("*") if path.is_file())


def test_a_flipped_bit_in_any_file_of_the_tree_is_named(hub: Hub) -> None:
    names = files(hub.log)
    assert len(names) == 8
    for name in names:
        path = hub.log / name
        kept = path.read_bytes()
        for place in (0, len(kept) - 1):
            data = bytearray(kept)
            data[place] ^= 0x10
            path.write_bytes(data)
            assert [found.where for found in hub.look()] == [name]
        path.write_bytes(kept)
    data = bytearray((hub.log / "tile/0/000").read_bytes())
    data[7 * 32] ^= 1
    (hub.log / "tile/0/000").write_bytes(data)
    assert hub.look() == [Finding("tile/0/000", "leaf 7, of `access/0/8`, is not as in `ledger`")]


def test_a_file_that_is_gone_or_cut_short_is_named(hub: Hub) -> None:
    path = hub.log / "tile/0/000"
    kept = path.read_bytes()
    path.write_bytes(kept[:-32])
    assert hub.look() == [Finding("tile/0/000", "`tile/0/000` has 8160 bytes, not 8192")]
    path.unlink()
    assert hub.look() == [Finding("tile/0/000", "`tile/0/000` is missing")]


def test_a_forked_or_false_checkpoint_is_named(hub: Hub) -> None:
    note = hub.log / "checkpoint"
    head = Checkpoint("hub.example/log", hub.leaves, bytes(32))
    note.write_text(SIGNER.sign(head.text))
    assert [found.why for found in hub.look()] == [
        f"over {hub.leaves} leaves is another than the one in `ledger`: a fork"
    ]
    note.write_text(Signer("hub.example/log", bytes(32)).sign(head.text))
    assert hub.look()[0].where == "checkpoint"
    note.write_text(SIGNER.sign(head._replace(size=17).text))
    assert [found.why for found in hub.look()] == ["over 17 leaves was never saved in `ledger`"]
    note.unlink()
    assert hub.look() == [Finding("checkpoint", "is missing")]


def test_a_log_that_was_cut_short_is_named(hub: Hub) -> None:
    ledger = hub.topics["ledger", 0]
    del ledger[-3:]
    found = hub.look()
    assert found[0].where == "checkpoint"
    assert found[0].why.endswith("cut short")


def test_a_checkpoint_in_the_ledger_over_other_records_is_named(hub: Hub) -> None:
    """Somebody who may write to `ledger` gives another record the place of one."""
    ledger = hub.topics["ledger", 0]
    record = codec.decode_as("Ledger", ledger[0].value or b"")
    record["run"]["leaves"][3]["commitment"] = bytes(32)
    where = hub.change("ledger", 0, 0, value=codec.encode("Ledger", record))
    found = {one.where: one.why for one in hub.look()}
    signed = [
        f"ledger/0/{one.offset}"
        for one in ledger
        if codec.decode_as("Ledger", one.value or b"")["checkpoint"]
    ]
    assert where.offset == 0
    assert set(signed) <= set(found)
    assert "access/0/3" in found  # the record that lost its place


def test_a_record_of_the_ledger_that_is_gone_or_broken_is_named(hub: Hub) -> None:
    ledger = hub.topics["ledger", 0]
    kept = list(ledger)
    del ledger[1]
    assert hub.look()[0].where == f"ledger/0/{kept[2].offset}"
    hub.topics["ledger", 0] = [*kept[:1], kept[1]._replace(value=b"\0\0\0\0\x19rubbish"), *kept[2:]]
    assert hub.look()[0].where == f"ledger/0/{kept[1].offset}"
    away = codec.decode_as("Ledger", kept[1].value or b"")
    away["run"]["topic"] = "../../elsewhere"
    hub.topics["ledger", 0] = [*kept[:1], kept[1]._replace(value=codec.encode("Ledger", away)), *kept[2:]]
    assert hub.look()[0] == Finding(f"ledger/0/{kept[1].offset}", "`ledger` gives places to what gets none")


@pytest.mark.parametrize("topic", SOURCES)
def test_a_record_that_was_rewritten_is_named(hub: Hub, topic: str) -> None:
    old = hub.topics[topic, 0][20]
    other = hub.topics[topic, 0][21].value
    hub.change(topic, 0, 20, value=other)
    assert Finding(f"{topic}/0/{old.offset}", "is not what its leaf in the log says") in hub.look()


def test_a_record_that_is_gone_or_was_put_between_is_named(hub: Hub) -> None:
    records = hub.topics["decisions", 1]
    gone = records.pop(5)
    assert hub.look()[0] == Finding(f"decisions/1/{gone.offset}", "has its place in the log, and is gone")
    records.insert(5, gone)
    last = records.pop()
    assert hub.look()[0] == Finding(f"decisions/1/{last.offset}", "has its place in the log, and is gone")
    records.append(last)
    free = next(n for n in range(last.offset) if n not in {record.offset for record in records})
    records.append(Found(free, b"p-1", last.value))
    records.sort()
    assert hub.look()[0] == Finding(f"decisions/1/{free}", "has no place in the log, and later records have")


def rewrite(store: Store, statement: Any) -> None:
    with store.write() as connection:
        assert connection.execute(statement).rowcount == 1


def test_a_row_of_the_store_that_says_something_else_is_named(tmp_path: Path, store: Store) -> None:
    """In SQLite and PostgreSQL: a reason, a participant, a row taken away, one put in."""
    hub = Hub(tmp_path, store)
    hub.fill(30)
    assert hub.look(rows=True) == []
    head, part = tables.decisions, tables.outcomes
    place = hub.topics["decisions", 0][4].offset
    one = sa.and_(head.c.partition == 0, head.c.offset == place)
    with store.read() as connection:
        ident = connection.execute(sa.select(head.c.id).where(one)).scalar_one()
    where = f"decisions/0/{place}"
    rewrite(store, part.update().where(part.c.decision == ident, part.c.number == 1).values(reason="role"))
    why = "in table `outcomes`, row 1 says something else in the store: `reason`"
    assert hub.look(rows=True) == [Finding(where, why)]
    rewrite(store, part.update().where(part.c.decision == ident, part.c.number == 1).values(reason="consent"))

    rewrite(store, head.update().where(one).values(participant="p-2", at=1))
    why = "in table `decisions` says something else in the store: `at`, `participant`"
    assert hub.look(rows=True) == [Finding(where, why)]
    rewrite(store, head.delete().where(one))
    found = hub.look(rows=True)
    assert found[0] == Finding(where, "in table `decisions` is missing in the store")
    assert len(found) == 4  # and its three outcomes
    table = tables.receipts
    with store.write() as connection:
        row = dict(connection.execute(sa.select(table).limit(1)).mappings().one())
        connection.execute(table.insert().values(row | {"offset": 4}))
    assert Finding(
        f"deliveries/{row['partition']}/4",
        "in table `receipts` stands in the store, and the log has no such record",
    ) in hub.look(rows=True)


def test_a_row_that_several_records_made_is_named_where_it_says_something_else(
    tmp_path: Path, store: Store
) -> None:
    hub = Hub(tmp_path, store)
    known = {"consent_offset": 1, "governance_offset": 2, "at": 9}
    owner = known | {"stakeholders": ["reach", "Zoë's", "a", "B"], "partition": 0, "owner": "o"}
    begun = known | {"outbox_partition": 0, "outbox_offset": 4, "attempt": 1, "shares": []}
    for number in range(3):
        who = f"p-{number}"
        rule = json.dumps(consent(f"c-{number}", number + 1)).encode()
        directive = {"id": f"d-{who}", "participant": who, "sender": "s", "recorded_at": 1}
        directive |= {"type": "consent-granted", "body": rule}
        hub.write("consent", 1, who, codec.encode("Directive", directive))
        intent = parcel(number + 900) | begun | {"participant": who}
        hub.write("deliveries", 1, who, codec.encode("Delivery", {"intent": intent}))
        acknowledgement = owner | {"consent_offset": number}
        hub.write("deliveries", 0, "", codec.encode("Delivery", {"acknowledgement": acknowledgement}))
    hub.fill(30)
    assert hub.look(rows=True) == []

    ending, made = watchtables.ending, watchtables.acknowledged
    rewrite(store, ending.update().where(ending.c.consent == "c-1").values(expires_at=1))
    rewrite(store, made.delete().where(made.c.stakeholder == "reach", made.c.consent_offset == 2))
    opened = watchtables.open_attempts
    with store.write() as connection:
        row = dict(connection.execute(sa.select(opened).limit(1)).mappings().one())
        connection.execute(opened.insert().values(row | {"key": "x-0"}))
        hour = watchtables.hourly
        rewritten = connection.execute(sa.select(hour).order_by(hour.c.who).limit(1)).mappings().one()
    which = [hour.c[name] == rewritten[name] for name in ("hour", "kind", "who", "partition")]
    rewrite(store, hour.update().where(*which).values(count=0))
    named = f"hourly/{rewritten['hour']}/{rewritten['kind']}/{rewritten['who']}/{rewritten['partition']}"
    assert hub.look(rows=True) == [
        Finding("ending/p-1/c-1", "says something else in the store: `expires_at`"),
        Finding("acknowledged/0/reach/2", "is missing in the store"),
        Finding("open_attempts/x-0/1", "stands in the store, and the log has no such record"),
        Finding(named, "says something else in the store: `count`"),
    ]


def test_a_row_of_what_has_no_leaf_is_held_against_its_topic(tmp_path: Path, store: Store) -> None:
    """What waits for a link, what was refused as far back as its topic reaches, and who works with whom."""
    hub = Hub(tmp_path, store)
    for event in ("e-1", "e-2", "e-3"):
        hub.write("parked.county-jail", 0, "", parked(event, 5))
    hub.write("parked.county-jail", 0, "", parked("e-2", 6, released=True))
    body = act(ASSIGNED, stakeholder="reach", account="alma") | {"by": "lead", "participant": "p-1"}
    hub.write("work", 0, "p-1", codec.encode("Work", body))
    hub.fill(30)
    assert hub.look(rows=True) == []
    del hub.topics["quarantine", 0][:4]  # it keeps nothing for ever
    assert hub.look(rows=True) == []

    waits, refused, theirs = watchtables.parked, tables.quarantine, casetables.caseloads
    rewrite(store, waits.update().where(waits.c.event == "e-1").values(at=900))
    rewrite(store, waits.delete().where(waits.c.event == "e-3"))
    rewrite(store, refused.update().where(refused.c.id == "q-20").values(reason="too-long"))
    rewrite(store, theirs.update().values(account="bert"))
    offset = hub.topics["quarantine", 0][10 - 4].offset
    assert hub.look(rows=True) == [
        Finding(f"quarantine/0/{offset}", "in table `quarantine` says something else in the store: `reason`"),
        Finding("parked/e-1", "says something else in the store: `at`"),
        Finding("parked/e-3", "is missing in the store"),
        Finding("caseloads/reach/p-1/alma", "is missing in the store"),
        Finding("caseloads/reach/p-1/bert", "stands in the store, and the log has no such record"),
    ]
    with store.write() as connection:
        connection.execute(waits.insert().values(event="e-2", agency="county-jail", at=5))
    told = "stands in the store, and the log has no such record"
    assert Finding("parked/e-2", told) in hub.look(rows=True)


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, bytes):
        return value + b"x"
    if isinstance(value, dict):
        return {**value, "x": 1}
    if isinstance(value, list | tuple):
        return [*value, "x"]
    return 7 if value is None else value + 1


def test_each_column_of_each_row_is_held_against_the_log(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    store.migrate()
    hub = Hub(tmp_path, store)
    hub.fill(30)
    expected = set()
    for table, topic in (*PLACED, (tables.outcomes, "decisions"), (tables.quarantine, "quarantine")):
        keys = {"partition", "offset", "topic", *(column.name for column in table.primary_key)}
        with store.read() as connection:
            query = sa.select(table).where(table.c.topic == topic if "topic" in table.c else sa.true())
            row = dict(connection.execute(query.limit(1)).mappings().one_or_none() or {})
            of = tables.decisions
            place = connection.execute(
                sa.select(of.c.partition, of.c.offset).where(of.c.id == row.get("decision"))
            ).one_or_none() or (row.get("partition"), row.get("offset"))
        if not row:
            assert table in (tables.intents, tables.withheld), "and these are of the same record as receipts"
            continue
        changed = {name: altered(value) for name, value in row.items() if name not in keys}
        rewrite(
            store, table.update().where(*(table.c[k] == row[k] for k in keys & row.keys())).values(changed)
        )
        names = ", ".join(f"`{name}`" for name in sorted(changed))
        number = f", row {row['number']}" if "number" in row else ""
        why = f"in table `{table.name}`{number} says something else in the store: {names}"
        expected.add(Finding(f"{topic}/{place[0]}/{place[1]}", why))
    assert expected <= set(hub.look(rows=True))
    assert len(expected) == 7
    store.close()


def test_a_leaf_says_nothing_without_its_salt_and_only_one_thing_with_it(hub: Hub) -> None:
    one = recorded("decisions", 0, *hub.topics["decisions", 0][0])
    other = recorded("decisions", 0, *hub.topics["decisions", 0][1])
    salt = hub.salts.of(one)
    leaf = commitment(salt, one.statement)
    assert hub.salts.of(other) != salt
    assert commitment(salt, other.statement) != leaf
    assert commitment(hub.salts.of(other), one.statement) != leaf
    assert one.statement.startswith(b"decisions/0/0\n")


def test_a_proof_is_made_of_what_was_recorded_and_of_nothing_else(hub: Hub) -> None:
    prover = Prover(hub.log, hub.salts)
    one = recorded("consent", 1, *hub.topics["consent", 1][3])
    proof = prover.prove(one)
    assert proof.check(one.statement, SIGNER.verifier).size == hub.leaves
    assert Proof.of(proof.text) == proof
    with pytest.raises(Unproven, match="consent/1/"):
        prover.prove(one._replace(value=b"another"))
    with pytest.raises(Unplaced, match="waits for the next checkpoint"):
        prover.prove(one._replace(offset=10_000))
    other = prover.prove(recorded("consent", 1, *hub.topics["consent", 1][4]))
    for spoilt in (
        proof._replace(salt=other.salt),
        proof._replace(leaf=proof.leaf + 1),
        proof._replace(hashes=other.hashes),
    ):
        with pytest.raises(Unproven):
            spoilt.check(one.statement, SIGNER.verifier)
    with pytest.raises(Unproven):
        other.check(one.statement, SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    ["", "c2sp.org/tlog-proof@v1\nindex 0\n\nnote", "c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\nnote\n"],
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(Unproven):
        Proof.of(text)


def test_a_proof_is_checked_from_its_files_alone(hub: Hub, tmp_path: Path) -> None:
    one = recorded("decisions", 1, *hub.topics["decisions", 1][3])
    statement = tmp_path / "decisions-1-3.statement"
    statement.write_bytes(one.statement)
    statement.with_suffix(".tlog-proof").write_text(Prover(hub.log, hub.salts).prove(one).text)
    key = tmp_path / "key"
    key.write_text(f"{SIGNER.verifier}\n")
    asked = ["audit", "check", str(statement), "--key", str(key)]
    told = CliRunner().invoke(cli.app, asked)
    assert (told.exit_code, told.output) == (
        0,
        f"{one.name} stands in the log `hub.example/log` of {hub.leaves} records\n",
    )
    assert json.loads(CliRunner().invoke(cli.app, [*asked, "--json"]).output)["size"] == hub.leaves
    statement.write_bytes(one.statement + b"!")
    refused = CliRunner().invoke(cli.app, asked)
    assert isinstance(refused.exception, Different)
    assert "`decisions-1-3.statement` is not proven" in refused.exception.what
    statement.unlink()
    assert isinstance(CliRunner().invoke(cli.app, asked).exception, Different)
