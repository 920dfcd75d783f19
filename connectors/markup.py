"""XML files taken in: each element that is a record an event or a refusal, and the next one goes through.

Parsed by expat without a document type, entities, or anything fetched (`defusedxml`), a piece at a time. A
record becomes a tree of names as the mapping writes them: elements by `prefix:name`, attributes by
`@prefix:name`, what stands several times as a list. Memory is bounded by `record_bytes_max`, whatever the
file: of a record, or of a document with references, which is read as a whole. What is not well-formed ends
the reading, for nobody knows where the next record begins.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, BinaryIO, Final, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from connectors.mapping import Mapper
from connectors.rows import BadHeader, Row, record_bytes_max, row
from connectors.rules import OWN_TEXT
from schemas.errors import Problem
from schemas.strict import field_chars_max

depth_max: Final = 64
nesting_max: Final = 1_000  # past this the reading ends: expat remembers every tag that is open
elements_max: Final = 100_000  # held at once
names_max: Final = 5_000  # that are remembered; others are looked at again
chunk_bytes: Final = 64 * 1024

AROUND: Final = ".."

_Element = dict[str, Any]


class _Bottomless(Exception):
    """Elements within elements without end."""


class _Found(NamedTuple):
    """A record: where it begins and its last tag stands, and the elements around it, the outermost first."""

    line: int
    start: int
    closing: int
    tree: _Element
    around: list[_Element]
    problem: Problem | None = None


class _Open:
    """What is held in memory: a record under way, or the whole document where references are followed."""

    def __init__(self, line: int, start: int) -> None:
        self.line = line
        self.start = start
        self.elements = 0
        self.stack: list[tuple[str, _Element, list[str]]] = []
        self.record: tuple[int, int, int] | None = None  # its depth, line and start
        self.found: list[_Found] = []
        self.named: dict[str, _Element] = {}
        self.problem: Problem | None = None
        self.kept: bytes | None = None  # its beginning, where it is too large

    def refuse(self, code: str, detail: str) -> None:
        """Note the first thing that is past its bound; nothing more is kept."""
        if self.problem is None:
            self.problem = Problem(f"line {self.line}", code, detail)
            self.named.clear()
            self.found.clear()
            del self.stack[1:]
            for _, element, texts in self.stack:
                element.clear()
                texts.clear()


class _Target:
    """Takes expat's events; builds the records and nothing else."""

    def __init__(self, mapper: Mapper) -> None:
        self._prefixes = _prefixes(mapper)
        self._record = mapper.input.record
        self._references = mapper.input.references
        self._names: dict[str, str] = {}
        self._depth = 0
        self._outside = 0
        self.open: _Open | None = None
        self.position: Any = None  # expat's parser, which knows where it is
        self.ended: list[tuple[_Open, _Found]] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name, self._depth = self._name(tag), self._depth + 1
        if self._depth > nesting_max:
            raise _Bottomless
        line, at = self.position.CurrentLineNumber, self.position.CurrentByteIndex
        if self.open is None:
            if name != self._record and self._references is None:
                return
            self.open, self._outside = _Open(line, at), self._depth
        held = self.open
        held.elements += 1
        if held.elements > elements_max:
            held.refuse("too-many", f"at most {elements_max} elements at once")
        if self._depth - self._outside >= depth_max:
            held.refuse("too-deep", f"at most {depth_max} elements within each other")
        if held.problem is None or not held.stack:
            found: _Element = {"@" + self._name(key): text for key, text in attributes.items()}
            held.stack.append((name, found, []))
            if name == self._record and held.record is None and not self._stands_for(found):
                held.record = self._depth, line, at

    def data(self, text: str) -> None:
        held = self.open
        if held is not None and held.problem is None:
            held.stack[-1][2].append(text)

    def end(self, tag: str) -> None:
        held, depth = self.open, self._depth
        self._depth -= 1
        if held is None:
            return
        closing = self.position.CurrentByteIndex
        if held.problem is None:
            name, element, texts = held.stack.pop()
            value = self._value(held, element, texts)
            if held.record is not None and held.record[0] == depth:
                tree = value if isinstance(value, dict) else {OWN_TEXT: value}
                around = [one for _, one, _ in held.stack]
                held.found.append(_Found(held.record[1], held.record[2], closing, tree, around))
                held.record = None
            if held.stack and held.problem is None:
                _add(held.stack[-1][1], name, value)
            elif depth == self._outside and held.problem is None:
                self._follow(element, held.named)
        if depth == self._outside:
            if held.problem is not None:
                held.found = [_Found(held.line, held.start, closing, {}, [], held.problem)]
            self.ended += [(held, one) for one in held.found]
            self.open = None

    def close(self) -> None:
        return

    def _stands_for(self, element: _Element) -> bool:
        return self._references is not None and "@" + self._references.ref in element

    def _value(self, held: _Open, element: _Element, texts: list[str]) -> Any:
        text = "".join(texts)
        if len(text) > field_chars_max:
            held.refuse("too-long", f"{len(text)} characters, at most {field_chars_max} are taken")
        if not element:
            return text
        if text.strip():
            element[OWN_TEXT] = text
        if self._references is not None and (known := element.get("@" + self._references.id)):
            held.named[known] = element
        return element

    def _follow(self, root: _Element, named: Mapping[str, _Element]) -> None:
        """Puts what a reference names in its place. Paths end, so that circles do no harm."""
        if self._references is None:
            return
        reference = "@" + self._references.ref
        waiting: list[_Element | list[Any]] = [root]
        while waiting:
            one = waiting.pop()
            for key, value in list(one.items() if isinstance(one, dict) else enumerate(one)):
                known = named.get(value.get(reference, "")) if isinstance(value, dict) else None
                if known is not None:
                    one[key] = known  # type: ignore[call-overload,index]  # by its name, or its number
                elif isinstance(value, dict | list):
                    waiting.append(value)

    def _name(self, tag: str) -> str:
        found = self._names.get(tag)
        if found is None:
            uri, brace, local = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
            prefix = self._prefixes.get(uri)
            found = tag if brace and prefix is None else f"{prefix}:{local}" if prefix else local
            if len(self._names) < names_max:
                self._names[tag] = found
        return found


def _prefixes(mapper: Mapper) -> dict[str, str]:
    return {
        uri: prefix
        for prefix, uris in mapper.input.namespaces.items()
        for uri in ([uris] if isinstance(uris, str) else uris)
    }


def _add(parent: _Element, name: str, value: Any) -> None:
    """Puts a value under its name; a second one makes a list of both."""
    if name not in parent:
        parent[name] = value
    elif isinstance(parent[name], list):
        parent[name].append(value)
    else:
        parent[name] = [parent[name], value]


def read(stream: BinaryIO, mapper: Mapper, source: str) -> Iterator[Row]:
    """The records of an XML file, one after the other, as events under `source`.

    In: the file in binary; the mapping. Raises `BadHeader` at the end of a file without any record.
    """
    target = _Target(mapper)
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    at = target.position = parser.parser
    raw, begins, found = bytearray(), 0, False
    while True:
        chunk = stream.read(chunk_bytes)
        raw += chunk
        broken = _feed(parser, chunk, target)
        for held, record in target.ended:
            found = True
            end = begins + (raw.find(b">", max(record.closing - begins, 0)) + 1 or len(raw))
            original = held.kept or bytes(raw[max(record.start - begins, 0) : end - begins])
            for inner, outer in pairwise([record.tree, *reversed(record.around)]):
                inner[AROUND] = outer
            problems = [] if record.problem is None else [record.problem]
            yield row(mapper, source, record.line, record.tree, problems, original, end - record.start)
        target.ended.clear()
        under_way = target.open
        if len(raw) > record_bytes_max and under_way is None and broken is None:
            detail = f"a tag has at most {record_bytes_max} bytes"  # expat holds a tag whole until it ends
            broken = Problem(f"line {at.CurrentLineNumber}", "too-large", detail)
        if broken is not None:
            yield Row(at.CurrentLineNumber, None, (broken,), bytes(raw[:record_bytes_max]), len(raw), mapper)
            return
        if not chunk:
            break
        if len(raw) > record_bytes_max and under_way is not None:
            what = "a record" if mapper.input.references is None else "a document with references"
            under_way.refuse("too-large", f"{what} has at most {record_bytes_max} bytes")
            under_way.kept = under_way.kept or bytes(raw[:record_bytes_max])
        keep = at.CurrentByteIndex if under_way is None or under_way.kept else under_way.start
        if keep > begins:
            del raw[: keep - begins]
            begins = keep
    if not found:
        problem = Problem("line 1", "no-record", f"there is no element `{mapper.input.record}` in the file")
        raise BadHeader([problem], b"")


def _feed(parser: DefusedXMLParser, chunk: bytes, target: _Target) -> Problem | None:
    """Parses one more piece, the last one where it is empty; what ends the reading, if anything."""
    try:
        if chunk:
            parser.feed(chunk)
        else:
            parser.close()
    except DefusedXmlException:
        where = f"line {target.position.CurrentLineNumber}"
        return Problem(where, "has-dtd", "a document type and entities are not taken; leave them out")
    except _Bottomless:
        where = f"line {target.position.CurrentLineNumber}"
        return Problem(where, "too-deep", f"more than {nesting_max} elements within each other")
    except ParseError as error:
        line, column = error.position
        return Problem(f"line {line}", "bad-xml", f"not well-formed at column {column + 1}")
    except (ValueError, LookupError):
        return Problem("line 1", "bad-encoding", "an encoding that is not known; save the file as UTF-8")
    return None
