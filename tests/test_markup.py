"""XML as it really comes, and as an attacker would send it."""

import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import mapping, markup
from connectors.mapping import Mapper
from connectors.rows import BadHeader, Row

TEXT = """
name = "notes"
title = "Notes"
[input]
format = "xml"
record = "n:note"
[input.namespaces]
n = ["urn:notes:1", "urn:notes:2"]
x = "urn:other"
[event]
type = "contact"
id = "@id"
subject = "n:who"
time = { path = "n:when", format = "iso", as = "instant" }
category = { constant = "contact.outreach" }
[fields]
narrative = "n:text"
needs = { path = "n:needs/n:need/*", as = "list" }
facility = "x:where/@x:name"
"""
WHOLE = TEXT.replace("[event]", '[input.references]\nid = "key"\nref = "same"\n[event]').replace(
    'subject = "n:who"', 'subject = "n:who/n:number"'
)
SOURCE = "urn:agency:reach"


def mapper(text: str = TEXT) -> Mapper:
    return Mapper(mapping.parse(text))  # type: ignore[arg-type]


def note(number: int, more: str = "") -> str:
    return f'<note id="{number}"><who>L-{number}</who><when>2026-03-01T09:00:00Z</when>{more}</note>'


def document(*notes: str, namespace: str = "urn:notes:1") -> bytes:
    return f'<?xml version="1.0"?>\n<notes xmlns="{namespace}">\n{chr(10).join(notes)}\n</notes>'.encode()


def read(data: bytes, text: str = TEXT) -> list[Row]:
    return list(markup.read(io.BytesIO(data), mapper(text), SOURCE))


def ids(rows: list[Row]) -> list[str]:
    return [str(row.event["id"]) for row in rows if row.event is not None]


def codes(rows: list[Row]) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for row in rows for problem in row.problems]


def test_each_record_is_an_event_with_its_own_line_and_bytes() -> None:
    data = document(note(1), note(2, "<needs><need>food</need></needs>"), "<other/>", note(3))
    rows = read(data)
    assert ids(rows) == ["1", "2", "3"]
    assert [row.line for row in rows] == [3, 4, 6]
    assert [row.original.decode() for row in rows] == [
        note(1), note(2, "<needs><need>food</need></needs>"), note(3)
    ]  # fmt: skip
    assert rows[1].event is not None
    assert rows[1].event["data"] == {"needs": ["food"]}
    assert sum(row.size for row in rows) < len(data)


def test_a_record_may_be_the_document_itself() -> None:
    assert ids(read(note(1).replace("<note", '<note xmlns="urn:notes:1"').encode())) == ["1"]


@pytest.mark.parametrize("namespace", ["urn:notes:1", "urn:notes:2"])
def test_namespaces_that_mean_the_same_are_read_the_same_whatever_prefix_the_file_has(namespace: str) -> None:
    where = '<o:where xmlns:o="urn:other" o:name="Pier 4" name="not this"/>'
    assert read(document(note(1, where), namespace=namespace))[0].event["data"] == {"facility": "Pier 4"}  # type: ignore[index]
    renamed = document(note(1)).replace(b"<", b"<p:").replace(b"<p:/", b"</p:").replace(b"<p:?", b"<?")
    assert ids(read(renamed.replace(b"xmlns=", b"xmlns:p="))) == ["1"]


def test_another_namespace_is_another_name() -> None:
    with pytest.raises(BadHeader) as caught:
        read(document(note(1), namespace="urn:notes:3"))
    assert caught.value.problems[0].code == "no-record"


def test_what_does_not_fit_is_told_by_line_and_path_and_the_next_record_goes_through() -> None:
    rows = read(document(note(1).replace("2026", "soon"), note(2)))
    assert codes(rows) == [("line 3, n:when", "bad-time")]
    assert ids(rows) == ["2"]
    assert rows[0].where("/data/narrative") == "line 3, n:text"


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE notes [<!ENTITY a "b">]>',
        '<!DOCTYPE notes [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE notes SYSTEM "http://127.0.0.1:9/notes.dtd">',
        '<!DOCTYPE notes [<!ENTITY % a SYSTEM "http://127.0.0.1:9/a.ent"> %a;]>',
        '<!DOCTYPE notes [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        "<!DOCTYPE notes>",
    ],
)
def test_no_document_type_and_no_entity_is_taken(prolog: str) -> None:
    data = document(note(1, "<text>&a;</text>")).replace(b"?>\n", b"?>\n" + prolog.encode())
    rows = read(data)
    assert codes(rows) == [("line 2", "has-dtd")]
    assert rows[0].event is None
    assert rows[0].original == data


def test_the_five_entities_of_xml_are_characters() -> None:
    rows = read(document(note(1, "<text>&lt;a&gt; &amp; &#90;o&#xEB;</text>")))
    assert rows[0].event["data"] == {"narrative": "<a> & Zoë"}  # type: ignore[index]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_the_encoding_is_the_one_that_the_file_declares(encoding: str) -> None:
    text = document(note(1, "<text>Zoë</text>")).decode()
    data = text.replace('version="1.0"', f'version="1.0" encoding="{encoding}"').encode(encoding)
    assert read(data)[0].event["data"] == {"narrative": "Zoë"}  # type: ignore[index]


def test_an_encoding_that_nobody_knows_is_told() -> None:
    data = document(note(1)).replace(b'"1.0"', b'"1.0" encoding="klingon-8"')
    assert [code for _, code in codes(read(data))] in (["bad-encoding"], ["bad-xml"])


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_file_that_was_cut_off_gives_what_is_whole_and_says_where_it_ends(cut: int) -> None:
    rows = read(document(note(1), note(2))[: -(len("\n</notes>") + cut)])
    assert ids(rows) == ["1"]
    assert codes(rows) == [("line 4", "bad-xml")]


def test_records_past_their_bounds_are_refused_and_the_next_goes_through() -> None:
    deep = "<a>" * (markup.depth_max + 5) + "</a>" * (markup.depth_max + 5)
    rows = read(document(note(1), note(2, deep), note(3, "<text>" + "x" * 40_000 + "</text>"), note(4)))
    assert ids(rows) == ["1", "4"]
    assert codes(rows) == [("line 4", "too-deep"), ("line 5", "too-long")]
    many = note(5, "<a/>" * (markup.elements_max + 1))
    assert codes(read(document(many, note(6)))) == [("line 3", "too-many")]
    assert ids(read(document(many, note(6)))) == ["6"]


class Endless(io.RawIOBase):
    """A file that goes on for so many bytes, and then ends as it should."""

    def __init__(self, head: bytes, piece: bytes, size: int, tail: bytes) -> None:
        self._left, self._pieces, self._piece, self._tail = head, size // len(piece), piece, tail

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (self._pieces or self._tail):
            self._left += self._piece if self._pieces else self._tail
            self._tail = self._tail if self._pieces else b""
            self._pieces = max(self._pieces - 1, 0)
        given, self._left = self._left[:size], self._left[size:]
        return given


@pytest.mark.parametrize("piece", [b"<a>some text</a>" * 64, b"some text " * 1024])
def test_a_record_of_any_size_is_refused_within_memory_and_the_next_goes_through(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_max = 512 * 1024
    monkeypatch.setattr(markup, "record_bytes_max", bytes_max)
    tail = b"</text></note>" + note(2).encode() + b"</notes>"
    stream = Endless(b'<notes xmlns="urn:notes:1"><note id="1"><text>', piece, 4 * bytes_max, tail)
    tracemalloc.start()
    rows = list(markup.read(stream, mapper(), SOURCE))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids(rows) == ["2"]
    assert codes(rows)[0][1] == "too-large"
    assert rows[0].size > 3 * bytes_max
    assert peak < 16 * bytes_max


def test_elements_within_elements_without_end_are_given_up() -> None:
    stream = Endless(b'<notes xmlns="urn:notes:1"><note id="1">', b"<a b='c'>" * 100, 50_000_000, b"")
    assert [code for _, code in codes(list(markup.read(stream, mapper(), SOURCE)))] == ["too-deep"]
    assert stream.read(1)  # most of it was never looked at


def test_a_single_tag_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "record_bytes_max", 512 * 1024)
    stream = Endless(b'<notes xmlns="urn:notes:1"><note id="', b"x" * 65_536, 2 * 1024 * 1024, b'"/></notes>')
    rows = list(markup.read(stream, mapper(), SOURCE))
    assert [code for _, code in codes(rows)] == ["too-large"]
    assert len(rows[0].original) == 512 * 1024


def whole(number: int, who: str) -> str:
    return note(number).replace(f"<who>L-{number}</who>", who)


def test_references_are_followed_through_the_whole_document_before_and_after() -> None:
    data = document(
        '<person key="a"><number>L-1</number></person>',
        whole(1, '<who same="a"/>'),
        whole(2, '<who same="b"/>'),
        whole(3, "<who><number>L-3</number></who>"),
        '<person key="b"><number>L-2</number></person>',
        '<note same="a"/>',
    )
    rows = read(data, WHOLE)
    assert [row.event["subject"] for row in rows if row.event] == ["L-1", "L-2", "L-3"]
    assert [row.line for row in rows] == [4, 5, 6]
    assert rows[1].original.decode() == whole(2, '<who same="b"/>')


def test_references_in_circles_and_to_nobody_do_no_harm() -> None:
    data = document(
        '<person key="a"><number same="a"/><knows same="b"/></person>',
        '<person key="b"><knows same="a"/></person>',
        whole(1, '<who same="a"/>'),
        whole(2, '<who same="nobody"/>'),
    )
    assert {code for _, code in codes(read(data, WHOLE))} == {"missing"}


def test_paths_lead_out_of_a_record_where_the_document_is_read_whole() -> None:
    text = WHOLE.replace('subject = "n:who/n:number"', 'subject = "../../n:number"')
    data = document(f"<number>L-9</number><folder>{note(1)}{note(2)}</folder>")
    assert [row.event["subject"] for row in read(data, text) if row.event] == ["L-9", "L-9"]
    with pytest.raises(Exception, match="prefix"):
        mapping.parse(TEXT.replace('subject = "n:who"', 'subject = "../n:who"'))


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_file_does_worse_than_one_of_our_errors(noise: bytes, at: int) -> None:
    good = document(note(1, "<text>a</text>"))
    data = good[:at] + noise + good[at:]
    try:
        rows = read(data)
    except BadHeader as error:
        assert error.problems  # noqa: PT017
    else:
        assert all((row.event is None) == bool(row.problems) for row in rows)


def test_the_xml_mapping_of_the_documentation_works() -> None:
    text = (Path(__file__).parent.parent / "docs" / "mapping.md").read_text("utf-8")
    toml, xml = text.partition("## XML")[2].split("```toml\n")[1].split("```xml\n")[:2]
    rows = read(xml.partition("```")[0].encode(), toml.partition("```")[0])
    assert [row.event["category"] for row in rows if row.event] == ["contact.crisis"]
