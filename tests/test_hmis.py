"""The HMIS CSV export of 2024 and of 2026: its columns, its lists, and the zip in which it comes."""

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest

from connectors import archive, mapping
from connectors.rows import BadHeader, Row
from schemas import cloudevents, events
from tests.test_events import CATEGORIES, LABELS

SPEC = json.loads((Path(__file__).parent / "data" / "hmis.json").read_bytes())
MAPPINGS = {
    "Enrollment.csv": "hmis-enrollment",
    "CurrentLivingSituation.csv": "hmis-current-living-situation",
    "Services.csv": "hmis-services",
}
VALUES = {
    "Enrollment.csv": {"EnrollmentID": "E1", "ProjectID": "PR7", "EntryDate": "2026-03-01"},
    "CurrentLivingSituation.csv": {
        "CurrentLivingSitID": "C1", "InformationDate": "2026-03-01", "CurrentLivingSituation": "116",
    },
    "Services.csv": {
        "ServicesID": "S1", "DateProvided": "2026-03-01", "RecordType": "141", "TypeProvided": "5",
    },
}  # fmt: skip
COMMON = {"PersonalID": "P-9", "DateUpdated": "2026-03-02 08:00:00"}


def line(name: str, year: str = "2026", **values: str) -> dict[str, str]:
    return dict.fromkeys(SPEC[year][name], "") | COMMON | VALUES[name] | values


def text(name: str, year: str, *rows: dict[str, str]) -> bytes:
    written = [",".join(SPEC[year][name]), *(",".join(row.values()) for row in rows)]
    return ("\r\n".join(written) + "\r\n").encode()


def event(row: Row) -> events.Published:
    assert row.event is not None, row.problems
    return events.validate(cloudevents.parse_structured(row.event), CATEGORIES, LABELS)


def read(data: bytes, name: str) -> list[Row]:
    return list(archive.read(io.BytesIO(data), mapping.load(name), "urn:agency:reach"))


def service(**values: str) -> events.Published:
    row = line("Services.csv", **values)
    return event(read(text("Services.csv", "2026", row), "hmis-services")[0])


@pytest.mark.parametrize("year", ["2024", "2026"])
@pytest.mark.parametrize("name", MAPPINGS)
def test_a_file_with_the_published_columns_is_taken_and_none_is_left_unknown(year: str, name: str) -> None:
    assert len(event(read(text(name, year, line(name, year)), MAPPINGS[name])[0]).compartments) > 1
    wanted = mapping.load(MAPPINGS[name]).input  # type: ignore[union-attr]
    assert set(wanted.columns) == set(SPEC["2024"][name]) & set(SPEC["2026"][name])
    assert set(wanted.optional_columns) == set(SPEC["2024"][name]) ^ set(SPEC["2026"][name])


def test_a_column_that_no_year_has_is_refused() -> None:
    data = text("Enrollment.csv", "2026").replace(b"ExportID", b"ExportID,Notes")
    with pytest.raises(BadHeader) as caught:
        read(data, "hmis-enrollment")
    assert caught.value.problems[0].code == "unknown-column"


@pytest.mark.parametrize("kind", SPEC["types"])
def test_every_service_of_the_published_lists_has_its_category(kind: str) -> None:
    for number in SPEC["types"][kind]:
        found = service(RecordType=kind, TypeProvided=str(number))
        assert found.type == "service-engagement"
        assert found.compartments["activity"]["service_code"]


def test_a_service_that_no_list_has_is_refused_by_its_columns() -> None:
    row = line("Services.csv", TypeProvided="99")
    (found,) = read(text("Services.csv", "2026", row), "hmis-services")
    assert [(p.path, p.code) for p in found.problems][:1] == [("line 2, column RecordType", "no-such-value")]


@pytest.mark.parametrize(
    ("kind", "number", "category", "labels"),
    [
        ("141", "5", "service.substance-use", ("mental-health", "part2")),
        ("161", "7", "service.housing", ("mental-health",)),
        ("143", "10", "service.mental-health", ("hiv", "mental-health")),
        ("151", "1", "service.housing", ("hiv",)),
        ("142", "13", "service.medical", ("reproductive-health",)),
        ("200", "200", "service.housing", ()),
    ],
)
def test_what_a_programs_name_says_about_health_is_labelled(
    kind: str, number: str, category: str, labels: tuple[str, ...]
) -> None:
    found = service(RecordType=kind, TypeProvided=number)
    assert (found.category, found.labels) == (category, labels)


def test_how_a_referral_turned_out_is_never_taken() -> None:
    attained = service(RecordType="161", TypeProvided="7", ReferralOutcome="1")
    not_attained = service(RecordType="161", TypeProvided="7", ReferralOutcome="2")
    assert attained == not_attained
    assert attained.compartments["activity"]["step"] == "offered"


def test_an_enrollment_is_a_start_and_none_of_what_a_funder_asks_for() -> None:
    answers = dict.fromkeys(SPEC["2024"]["Enrollment.csv"], "1") | COMMON | VALUES["Enrollment.csv"]
    answers |= {"DateDeleted": "", "DateOfEngagement": "2026-03-01"}
    found = event(read(text("Enrollment.csv", "2024", answers), "hmis-enrollment")[0])
    assert found.compartments == {
        "activity": {"program": "PR7", "step": "started"},
        "engagement": {"engaged": True},
        "occurrence": {"occurred_at": 1_772_395_200_000},
        "subject": {"local_id": "P-9"},
    }


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", kind) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return held.getvalue()


def export(year: str = "2026", folder: str = "") -> dict[str, bytes]:
    files = {folder + name: text(name, year, line(name, year)) for name in reversed(MAPPINGS)}
    return {
        folder + "Export.csv": b"ExportID\r\n1\r\n",
        folder + "Client.csv": b"PersonalID\r\nP-9\r\n",
    } | files


@pytest.mark.parametrize("folder", ["", "export/", "../../etc/"])
def test_a_whole_zip_is_read_in_the_mappings_order_and_its_other_files_are_not_opened(folder: str) -> None:
    found = read(zipped(export("2024", folder)), "hmis-export")
    assert [row.entry for row in found] == ["Enrollment.csv", "CurrentLivingSituation.csv", "Services.csv"]
    assert [event(row).id for row in found] == [f"{i}@2026-03-02 08:00:00" for i in ("E1", "C1", "S1")]


def test_what_is_wrong_in_one_file_of_a_zip_leaves_the_others_be() -> None:
    files = export() | {"CurrentLivingSituation.csv": b"Not,The,Columns\r\n1,2,3\r\n"}
    files["Services.csv"] = text("Services.csv", "2026", line("Services.csv", DateProvided="soon"))
    found = read(zipped(files), "hmis-export")
    assert [row.event is not None for row in found] == [True, False, False]
    assert found[1].problems[0].path == "CurrentLivingSituation.csv, line 1"
    assert found[2].problems[0].path == "Services.csv, line 2, column DateProvided"


def refusal(data: bytes) -> str:
    with pytest.raises(BadHeader) as caught:
        read(data, "hmis-export")
    return caught.value.problems[0].code


def test_zip_bombs_and_other_bad_zips_are_refused_before_anything_is_read() -> None:
    bomb = export() | {"Services.csv": b"," * (archive.ratio_max * 200_000)}
    assert refusal(zipped(bomb)) == "zip-bomb"
    assert refusal(b"PK\x03\x04 no zip at all") == "not-a-zip"
    assert refusal(zipped(export())[:-30]) == "not-a-zip"
    assert refusal(zipped({"Client.csv": b"x"})) == "no-entry"
    assert refusal(zipped(export() | {"twice/Services.csv": b"x"})) == "duplicate-entry"
    many = {f"{number}.csv": b"" for number in range(archive.entries_max)}
    assert refusal(zipped(many | export(), zipfile.ZIP_STORED)) == "too-many"


def test_a_zip_from_a_pipe_is_refused_in_words() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(BadHeader) as caught:
        list(archive.read(Pipe(zipped(export())), mapping.load("hmis-export"), "urn:agency:reach"))
    assert caught.value.problems[0].code == "not-seekable"


def test_a_zip_that_says_less_than_it_holds_gives_no_more_than_it_says() -> None:
    data = bytearray(zipped({"Services.csv": b"," * 30_000_000}))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 2_000)
    found = read(bytes(data), "hmis-export")
    assert [row.problems[0].code for row in found] in (["bad-csv"], ["damaged"], ["missing-column"])
    assert sum(row.size for row in found) <= 2_000


def test_a_damaged_file_in_a_zip_is_told_and_what_was_read_before_counts() -> None:
    rows = [line("Services.csv", ServicesID=f"S{n}") for n in range(20_000)]
    data = bytearray(zipped({"Services.csv": text("Services.csv", "2026", *rows)}))
    data[len(data) // 2] ^= 0xFF
    found = read(bytes(data), "hmis-export")
    assert found[0].event is not None
    assert found[-1].problems[0].code == "damaged"
    assert len(found) < len(rows) + 2
