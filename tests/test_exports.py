"""Exports: complete within what was asked for and permitted, nothing beyond it, signed, recorded first."""

import contextlib
import hashlib
import json
import secrets
import shutil
import subprocess
import time
import zipfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from consent import Governance, default_policy, fold
from hub import accounting, acts, audit, bootstrap, export, exports, package
from hub import settings as program_settings
from hub.exports import Answer, Scope
from hub.language import tongue
from hub.ledger import merkle
from hub.ledger.commitment import commitment
from hub.ledger.note import Checkpoint, Signer
from hub.lookup import Lookup
from hub.projections import project, read
from hub.store import upsert
from hub.summary import summary
from hub.tables import decisions
from schemas import codec, compartments, instant, sealing
from tests import model
from tests.delivery_scene import STAKEHOLDERS, Keys, Nobody, event, granted, revoked
from tests.desk import granted as signed
from tests.webside import CLINIC, REACH, Side, records

SEED = bytes(range(32))
AT = instant.parse("2026-06-02T00:00:00Z")
SCOPE = Scope("p1", "shelter", "care-coordination", "c1", 0, AT)
RUN = CliRunner()


def governance() -> Governance:
    found = Governance()
    rows: list[tuple[str, str, Any]] = [("policy", "policy", default_policy())]
    rows += [("stakeholder", one["id"], one) for one in STAKEHOLDERS]
    for offset, (kind, name, body) in enumerate(rows):
        found.apply(offset, {"kind": kind, "id": name, "body": json.dumps(body)})
    return found


def answered(
    events: list[dict[str, Any]], told: list[dict[str, Any]], scope: Scope = SCOPE, keys: Any = None
) -> Answer:
    return exports.answered(events, scope, AT, fold(told), governance(), keys or Keys(), Nobody())


CONSENTS = st.lists(
    st.one_of(
        st.builds(
            lambda name, who, categories, parts: granted(
                name, who, categories=categories, compartments=parts
            ),
            st.sampled_from(("c1", "c2", "c3")),
            st.sampled_from((["shelter"], ["reach"], ["shelter", "reach"])),
            st.sampled_from((["contact"], ["contact.outreach"], ["service"])),
            st.sampled_from((["*"], ["subject"], ["occurrence", "legal"])),
        ),
        st.builds(revoked, st.sampled_from(("c1", "c2"))),
        st.just(
            {
                "type": "restriction-placed",
                "restriction": {
                    "id": "r1",
                    "recipients": ["shelter"],
                    "purposes": ["*"],
                    "categories": ["contact.custody-booking"],
                    "labels": ["*"],
                },
            }
        ),
    ),
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(CONSENTS, st.sampled_from(("c1", "c2")), st.sampled_from(((), ("contact.outreach",))))
def test_what_goes_is_all_that_the_plain_reading_permits_on_that_ground_and_nothing_else(
    told: list[dict[str, Any]], ground: str, categories: tuple[str, ...]
) -> None:
    kinds = ("contact.outreach", "contact.custody-booking")
    events = [event(n, category=kinds[n % 2], booking_number=f"B-{n}") for n in range(6)]
    events.append(event(9, participant="p2"))
    found = answered(events, told, SCOPE._replace(ground=ground, categories=categories))
    plain, left = {}, Counter[str]()
    for one in events[:-1]:
        about = one["envelope"] | {"occurred_at": instant.format(one["envelope"]["occurred_at"])}
        if categories and about["category"] not in categories:
            continue
        request = {"recipient": "shelter", "purpose": "care-coordination", "at": instant.format(AT)}
        answer = model.decide(about, request, model.fold(told), default_policy(), [*STAKEHOLDERS])
        if answer["effect"] == "deny":
            left[answer["reason"]] += 1
        elif any(name.startswith(f"{ground}/") for name in answer["grants"]):
            plain[about["id"]] = answer["compartments"]
        else:
            left["other-ground"] += 1
    assert {one.event: list(one.decision.compartments) for one in found.pieces} == plain
    assert all(set(one.view["data"]) <= set(plain[one.event]) for one in found.pieces)
    assert found.left_out == dict(left)


def test_an_orders_export_holds_what_the_order_covers_and_says_what_was_left_out() -> None:
    order = {
        "type": "order-filed",
        "order": {
            "id": "o-7",
            "recipient": "shelter",
            "categories": ["contact.custody-booking"],
            "starts_at": "2026-01-01T00:00:00Z",
            "expires_at": "2027-01-01T00:00:00Z",
            "subpoena": True,
        },
    }
    events = [event(n, category=("contact.outreach", "contact.custody-booking")[n % 2]) for n in range(4)]
    scope = SCOPE._replace(purpose="proceedings", ground="o-7")
    found = answered(events, [granted("c1"), order], scope)
    permitted = {one.event for one in found.pieces}
    assert sum(found.left_out.values()) + len(permitted) == 4
    assert permitted <= {"e-1", "e-3"}
    told = summary(found, {"shelter": "Harbor House"}, tongue("en", "UTC"))
    assert "Harbor House" in told
    assert "Ana Invented" not in told or permitted
    assert summary(found, {}, tongue("es", "UTC")) != told


def test_who_was_erased_is_not_exported() -> None:
    keys = Keys()
    keys.erased.add("p1")
    found = answered([event(1)], [granted("c1")], keys=keys)
    assert (found.pieces, found.left_out) == ([], {"erased": 1})


def test_the_summary_says_what_stands_in_the_records_and_no_more() -> None:
    found = answered([event(1)], [granted("c1", compartments=["subject"])])
    told = summary(found, {"shelter": "Harbor House"}, tongue("en", "UTC"))
    assert "Ana Invented" in told
    for hidden in ("active", "North Hall", "M. Invented", "p1", "e-1", "c1"):
        assert hidden not in told
    assert exports.shown_ground(found) is None


# ---- the package ----------------------------------------------------------------------------------------


def proofs(*statements: bytes, shown: bool = False) -> tuple[dict[str, Any], Signer]:
    """Proofs in a log of so many records, and who signs it."""
    salts = [hashlib.sha256(b"salt" + bytes([n])).digest() for n in range(len(statements))]
    leaves = [commitment(salt, one) for salt, one in zip(salts, statements, strict=True)]
    hashed = [merkle.leaf_hash(one) for one in leaves]

    def nodes(level: int, index: int) -> bytes:
        if level == 0:
            return hashed[index]
        return merkle.node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1))

    size, signer = len(leaves), Signer("log", SEED)
    note = signer.sign(Checkpoint("log", size, merkle.root(nodes, 0, size)).text)
    made = []
    for n, leaf in enumerate(leaves):
        one = package.proof_of(n, leaf, merkle.inclusion(nodes, n, size))
        if shown:
            one |= {"salt": salts[n].hex(), "statement": statements[n].hex()}
        made.append(one)
    return {"checkpoint": note, "proofs": made, "waiting": []}, signer


def made(**more: bytes) -> dict[str, bytes]:
    files = {
        package.MANIFEST: package.as_json({"records": 3}),
        package.RECORDS: b"[]\n",
        package.SUMMARY: b"words\n",
        package.PROOFS: package.as_json(proofs(b"a", b"b", b"c")[0]),
    }
    return package.signed(files | more, SEED)


@pytest.mark.parametrize("name", ["answer.zip", "answer"])
def test_a_package_is_checked_from_its_files_and_the_keys_alone(tmp_path: Path, name: str) -> None:
    path, pem = tmp_path / name, tmp_path / "key.pem"
    pem.write_text(package.public_pem(SEED))
    (tmp_path / "log.vkey").write_text(str(Signer("log", SEED).verifier))
    package.write(made(), path)
    assert path.stat().st_mode & 0o077 == 0
    done = RUN.invoke(
        export.app, ["check", str(path), "--key", str(pem), "--log-key", str(tmp_path / "log.vkey"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) | {"manifest": 0} == {
        "records": 3,
        "proven": 3,
        "waiting": 0,
        "manifest": 0,
    }
    assert "not checked" in RUN.invoke(export.app, ["check", str(path), "--key", str(pem)]).stdout
    with pytest.raises(FileExistsError):
        package.write(made(), path)


def test_stock_tools_check_it_too(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    package.write(made(), tmp_path / "answer")
    (tmp_path / "key.pem").write_text(package.public_pem(SEED))
    inside = tmp_path / "answer"
    verify = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "../key.pem",
        "-rawin",
        "-in",
        package.SUMS,
    ]
    subprocess.run([*verify, "-sigfile", package.SIGNATURE], cwd=inside, check=True, capture_output=True)
    subprocess.run(["sha256sum", "-c", package.SUMS], cwd=inside, check=True, capture_output=True)


@pytest.mark.parametrize("name", [*package.NAMES, package.SUMS, package.SIGNATURE])
def test_a_byte_that_was_changed_anywhere_is_found(tmp_path: Path, name: str) -> None:
    files = made()
    files[name] = files[name][:-2] + bytes([files[name][-2] ^ 1]) + files[name][-1:]
    with pytest.raises(package.NotWhole):
        package.check(files, package.public_pem(SEED).encode(), None)
    files = made()
    with pytest.raises(package.NotWhole):
        package.check(files, package.public_pem(bytes(32)).encode(), None)
    with pytest.raises(package.NotWhole):
        package.check(files, b"no key", None)


def test_what_is_no_export_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "junk.zip").write_bytes(b"junk")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as packed:
        for name, data in {**made(), "../more": b""}.items():
            packed.writestr(name, data)
    for name in ("junk.zip", "more.zip", "nothing", "."):
        with pytest.raises(package.NotWhole):
            package.read(tmp_path / name)


@pytest.mark.parametrize("shown", [False, True])
def test_a_proof_of_something_else_is_found(shown: bool) -> None:
    good, signer = proofs(b"a", b"b", b"c", shown=shown)
    assert package._proven(good, signer.verifier) == 3
    for change in (
        {"leaf": 1},
        {"commitment": "00" * 32},
        {"hashes": []},
        *([{"statement": b"x".hex()}] if shown else []),
    ):
        bad = good | {"proofs": [good["proofs"][0] | change]}
        with pytest.raises(package.NotWhole):
            package._proven(bad, signer.verifier)
    with pytest.raises(package.NotWhole):
        package._proven(good, Signer("other", SEED).verifier)


# ---- the whole of it ------------------------------------------------------------------------------------


def told(side: Side, who: str, consent: str) -> str:
    """Somebody agrees; out: the consent's id in the hub."""
    grants = [
        {
            "id": "g1",
            "disclosers": ["*"],
            "recipients": [CLINIC],
            "purposes": ["care-coordination"],
            "categories": ["contact"],
            "compartments": ["subject", "engagement"],
        }
    ]
    with side.client(REACH) as reach:
        answer = reach.post("/v1/directives", json=signed(who, consent, grants=grants))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["concerns"])


def happened(side: Side, who: str, number: int) -> str:
    """Something is admitted and decided about. Out: the event's id."""
    name = "e-" + secrets.token_hex(13)
    envelope = event(number, participant=who)["envelope"] | {"id": name, "discloser": REACH}
    sealer, parts = (
        side.hub.vault.sealer(who),
        {"subject": {"name": "Delfina Quay"}, "legal": {"booking_number": "B"}},
    )
    envelope["compartments"] = sorted(parts)
    sealed = {
        part: sealer.seal(sealing.aad(envelope, part), compartments.encode("contact", part, fields))
        for part, fields in parts.items()
    }
    value = codec.encode("Event", {"envelope": envelope, "sealed": sealed})
    place = side.hub.appender.append("contact", who, value)
    row = {name: envelope[name] for name in ("participant", "discloser", "type", "category", "occurred_at")}
    row |= {"id": "d" + name[1:], "cause": "first", "event": name, "at": AT, "envelope": envelope}
    row |= {"position": place._asdict(), "consent_offset": 0, "governance_offset": 0, "partition": 0}
    with side.hub.store.write() as connection:
        upsert(connection, decisions, [row | {"offset": secrets.randbits(40)}])
    return name


def recorded(side: Side, who: str) -> list[dict[str, Any]]:
    """What `access` says about somebody; it is projected on the way, as the auditor would."""
    found = []
    for one in records(side.hub.client["bootstrap.servers"], "access"):
        value = codec.decode(one.value() or b"")[1]
        if value["participant"] == who:
            found.append(value)
            with side.hub.store.write() as connection:
                project(connection, [read("access", one.partition(), one.offset(), one.value())])
    return found


def asked(side: Side, scope: Scope, to: Path) -> dict[str, Any]:
    with closing(Lookup(side.hub.client)) as lookup:
        return export.exported(
            side.hub, lookup, scope, to, time.time_ns() // 1_000_000, language="en", statements=False
        )


@pytest.mark.broker
def test_an_export_is_recorded_and_counts_as_disclosed(side: Side, tmp_path: Path) -> None:
    who = side.hub.participants.create(REACH, "R-" + secrets.token_hex(4), "tests").participant
    consent = told(side, who, "d-" + secrets.token_hex(4))
    names = {happened(side, who, n) for n in range(3)}
    now = time.time_ns() // 1_000_000
    scope = Scope(who, CLINIC, "care-coordination", consent, 0, now)
    said = asked(side, scope, tmp_path / "answer.zip")
    assert (said["records"], said["left_out"]) == (3, {})
    files = package.read(tmp_path / "answer.zip")
    pem = package.public_pem(side.hub.vault.signing_seed(export.KEY)).encode()
    assert package.check(files, pem, None).manifest["records"] == 3
    whole = b"".join(files.values())
    assert b"Delfina Quay" in whole
    assert b"booking_number" not in whole
    assert who.encode() not in whole
    assert not any(name.encode() in whole for name in names)
    assert b"left_out" not in whole
    first, last = [one for one in recorded(side, who) if one["kind"].startswith("export")]
    assert (first["kind"], last["kind"]) == (acts.EXPORTED, acts.EXPORT_WRITTEN)
    assert (
        json.loads(first["body"])["about"]
        == said["sha256"]
        == hashlib.sha256(files[package.SUMS]).hexdigest()
    )
    account = accounting.account(side.hub.store, who, 0, now + 60_000)
    assert {(one.event, one.stakeholder, one.certain, one.ways) for one in account.disclosures} == {
        (name, CLINIC, True, ("export",)) for name in names
    }


@pytest.mark.broker
def test_what_is_taken_back_while_it_is_made_is_not_written(
    side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = side.hub.participants.create(REACH, "R-" + secrets.token_hex(4), "tests").participant
    consent = told(side, who, "d-" + secrets.token_hex(4))
    happened(side, who, 1)
    scope = Scope(who, CLINIC, "care-coordination", consent, 0, time.time_ns() // 1_000_000)
    written, to = acts.access, tmp_path / "answer.zip"

    def taken_back(*args: Any) -> Any:
        place = written(*args)
        if args[1] == acts.EXPORTED:
            with side.client(REACH) as reach:
                answer = reach.post(
                    f"/v1/consents/{consent}/revocations", json={"id": "d-" + consent, "participant": who}
                )
                assert answer.status_code < 300, answer.text
        return place

    monkeypatch.setattr(acts, "access", taken_back)
    with pytest.raises(export.Changed):
        asked(side, scope, to)
    monkeypatch.undo()
    assert not to.exists()
    kinds = [one["kind"] for one in recorded(side, who) if one["kind"].startswith("export")]
    assert kinds == [acts.EXPORTED, acts.EXPORT_DROPPED]
    assert accounting.account(side.hub.store, who, 0, scope.until + 60_000).disclosures == []
    again = asked(side, scope, to)
    assert (again["records"], again["left_out"]) == (0, {"revoked": 1})
    assert b"Delfina" not in b"".join(package.read(to).values())


@pytest.mark.broker
def test_what_cannot_be_exported_is_said(side: Side, tmp_path: Path) -> None:
    scope = Scope("p-nobody", CLINIC, "care-coordination", "c", 0, AT)
    for wrong in (scope, scope._replace(recipient="nobody"), scope._replace(purpose="anything")):
        with pytest.raises(export.NothingToExport):
            asked(side, wrong, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.broker
def test_the_commands_make_what_the_check_takes(
    side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "bootstrap", lambda *_: contextlib.nullcontext(side.hub))
    monkeypatch.setattr(program_settings, "load", lambda: side.hub.settings)
    who = side.hub.participants.create(REACH, "R-" + secrets.token_hex(4), "tests").participant
    consent = told(side, who, "d-" + secrets.token_hex(4))
    happened(side, who, 1)
    to, pem = tmp_path / "answer.zip", tmp_path / "key.pem"
    asking = [who, CLINIC, "--purpose", "care-coordination", "--on", consent, "--to-file", str(to)]
    made = RUN.invoke(export.app, ["make", *asking])
    assert made.exit_code == 0, made.output
    assert "1 records are in" in made.stdout
    assert RUN.invoke(export.app, ["make", *asking]).exit_code == 2
    narrower = [*asking[:-1], str(tmp_path / "folder"), "--type", "referral", "--json"]
    assert json.loads(RUN.invoke(export.app, ["make", *narrower]).stdout)["records"] == 0
    pem.write_text(RUN.invoke(export.app, ["key"]).stdout)
    done = RUN.invoke(export.app, ["check", str(to), "--key", str(pem)])
    assert "1 records are as they were signed" in done.stdout, done.output
    when = instant.format(time.time_ns() // 1_000_000)
    asked_of = RUN.invoke(audit.app, ["as-of", when, "--participant", who, "--json"])
    assert asked_of.exit_code == 0, asked_of.output
    assert json.loads(asked_of.stdout)["participant"] == who
    assert RUN.invoke(audit.app, ["as-of", "yesterday"]).exit_code == 2
