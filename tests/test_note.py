"""Signed notes: those of others verify, ours are as theirs, and whatever was changed is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.ledger import note
from hub.ledger.note import Checkpoint, NoteInvalid, Signer, Verifier

# the example of c2sp.org/signed-note
FOO = Verifier.of("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
HEAD = Checkpoint("hub.example/log", 20_852_163, bytes(range(32)))
SIGNER = Signer("hub.example/log", b"\7" * 32)
WITNESS_SEED = b"\5" * 32


def witness() -> Verifier:
    made = Signer("witness.example/w1", WITNESS_SEED).verifier
    return Verifier(made.name, note.COSIGNATURE, made.key)


def test_a_note_of_somebody_else_verifies() -> None:
    assert note.opened(FOO_NOTE, [FOO]) == ("This is an example message.\n", {FOO})


def test_a_key_is_told_and_read_the_same() -> None:
    for verifier in (FOO, SIGNER.verifier, witness()):
        assert Verifier.of(str(verifier)) == verifier
    assert FOO.id.hex() == "530d903a"


def test_a_checkpoint_is_three_lines_and_comes_back() -> None:
    signed = SIGNER.sign(HEAD.text)
    text, signers = note.opened(signed, [SIGNER.verifier])
    assert signed.startswith("hub.example/log\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— ")
    assert (Checkpoint.of(text), signers) == (HEAD, {SIGNER.verifier})
    assert Checkpoint.of(text + "something more\n") == HEAD


def test_a_witness_says_when_and_is_verified_beside_the_log() -> None:
    signed = SIGNER.sign(HEAD.text) + note.cosign(
        "witness.example/w1", WITNESS_SEED, HEAD.text, 1_679_315_147
    )
    _, signers = note.opened(signed, [SIGNER.verifier, witness()])
    assert signers == {SIGNER.verifier, witness()}
    _, signatures = note.split(signed)
    assert witness().check(HEAD.text, signatures[1][2]) == 1_679_315_147
    moved = (1_679_315_148).to_bytes(8, "big") + signatures[1][2][8:]
    with pytest.raises(NoteInvalid, match=r"witness\.example/w1"):
        witness().check(HEAD.text, moved)


def test_signatures_of_unknown_keys_do_not_count_and_do_not_harm() -> None:
    other = Signer("other.example", b"\3" * 32)
    mixed = SIGNER.sign(HEAD.text) + other.sign(HEAD.text).rpartition("\n\n")[2]
    assert note.opened(mixed, [SIGNER.verifier])[1] == {SIGNER.verifier}
    with pytest.raises(NoteInvalid, match="none of the keys"):
        note.opened(other.sign(HEAD.text), [SIGNER.verifier])
    named_alike = Signer("hub.example/log", b"\3" * 32)
    with pytest.raises(NoteInvalid, match="none of the keys"):
        note.opened(named_alike.sign(HEAD.text), [SIGNER.verifier])


@given(st.data())
def test_no_byte_of_a_checkpoint_can_be_changed(data: st.DataObject) -> None:
    signed = SIGNER.sign(HEAD.text)
    place = data.draw(st.integers(0, len(signed) - 1))
    other = data.draw(
        st.characters(min_codepoint=10, max_codepoint=0x2FFF).filter(lambda c: c != signed[place])
    )
    changed = signed[:place] + other + signed[place + 1 :]
    try:
        text, _ = note.opened(changed, [SIGNER.verifier])
    except NoteInvalid:
        return
    assert text == HEAD.text  # base64 leaves bits unused at its end; what is said stays the same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no signature\n",
        "text\n\n",
        "text\n\n— name\n",
        "text\n\n— name AAAA\n",
        "text\n\n- name AAAAAAAAAA==\n",
        "te\txt\n\n— name AAAAAAA=\n",
        "text\n\n— na+me AAAAAAA=\n",
        "x" * note.NOTE_BYTES_MAX + "\n\n— name AAAAAAA=\n",
        "text\n\n" + "— name AAAAAAA=\n" * (note.SIGNATURES_MAX + 1),
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        note.split(text)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n5\n",
        f"\n5\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n05\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n-5\n{base64.b64encode(bytes(32)).decode()}\n",
        f"origin\n5\n{base64.b64encode(bytes(31)).decode()}\n",
        "origin\n5\nnot base64\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.of(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "na me+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+Aeky",
        "example.com/foo+530d903a+!",
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Verifier.of(text)


def test_a_name_with_a_space_signs_nothing() -> None:
    with pytest.raises(ValueError, match="no space"):
        Signer("two words", bytes(32))
