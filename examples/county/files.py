"""What agencies hand in as files: a whole HMIS export, a court's docket and NIEM messages, put into folders
that the hub watches, and a jail's roster, which the hub fetches from the county's SFTP server.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.county.calendar import local
from examples.county.details import HEARINGS, LIVING
from examples.county.events import Event
from examples.county.hubside import NotDone
from examples.county.journal import write_whole
from examples.county.mailbox import Mailbox, private_key
from examples.county.messages import charge_case, filing
from examples.county.plan import Scene
from examples.county.record import instant

MAPPINGS = {
    "hmis": "hmis-export",
    "docket": "court-docket",
    "niem": "niem-charge-filing",
    "roster": "jail-roster",
}
ENDINGS = {"hmis": ".zip", "docket": ".csv", "niem": ".xml", "roster": ".csv"}
EXPORTED = "CurrentLivingSituation.csv"
WATCHED = {
    "reach": "hmis",
    "city-attorney": "niem",
    "municipal-court": "docket",
}  # who puts what into a folder
JAIL = "county-jail"  # from whose account the hub fetches
result_ms_max = 120_000
look_ms = 1_000  # between two looks of the hub into the account


def watched(folder: Path, mailbox: Mailbox) -> str:
    """The hub's setting `files` for a county that is played in that folder; places and keys are made."""
    sources: list[dict[str, Any]] = []
    for agency, channel in WATCHED.items():
        place = folder / "watched" / agency
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        mappings = {"*" + ENDINGS[channel]: MAPPINGS[channel]}
        # Files get their name when they are whole, so that there is nothing to wait for.
        sources.append({"agency": agency, "folder": str(place), "mappings": mappings, "settle_ms": 0})
    key = folder / "jail-account-key"
    mailbox.trust(JAIL, private_key(key).export_public_key("openssh").decode().strip())
    account = {
        "host": "127.0.0.1",
        "port": mailbox.port,
        "username": JAIL,
        "key": str(key),
        "host_key": mailbox.public_key,
        "folder": "out",
        "every_ms": look_ms,
    }
    mappings = {"*" + ENDINGS["roster"]: MAPPINGS["roster"]}
    sources.append({"agency": JAIL, "sftp": account, "mappings": mappings, "settle_ms": 0})
    return json.dumps(sources)


@dataclass(frozen=True)
class Sheet:
    """One file of one agency, with how many good records are in it."""

    path: Path
    source: str
    good: int
    bad: int


class Files:
    """Writes the scenes' files and hands them in."""

    def __init__(self, folder: Path, places: Mapping[str, Path]) -> None:
        """In: where they are written; by agency the folder that the hub looks into."""
        self.folder = folder
        self.places = places

    def written(self, scene: Scene) -> list[Sheet]:
        """The scene's files, written; the same ones when it is played again."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        sheets = []
        for channel in MAPPINGS:
            events = [event for event in scene.events if event.channel == channel]
            if not events:
                continue
            path = self.folder / f"{scene.name}-{channel}{ENDINGS[channel]}"
            bad = self._write(path, channel, events, spoil=scene.name == "weeks")
            sheets.append(Sheet(path, events[0].source, len(events), bad))
        return sheets

    def _write(self, path: Path, channel: str, events: Sequence[Event], *, spoil: bool) -> int:
        """Writes one file. Out: how many of its records have something wrong with them."""
        if channel == "niem":
            spoilt_cases = [charge_case(events[0], person="")] if spoil else []
            write_whole(path, filing([*map(charge_case, events), *spoilt_cases]))
            return len(spoilt_cases)
        header, as_row = LAYOUTS[channel]
        rows = [as_row(event) for event in events]
        bad = spoilt(channel, rows[0]) if spoil else []
        half = len(rows) // 2
        text = _csv(header, [*rows[:half], *bad, *rows[half:]])
        if channel == "hmis":
            _zip(path, text)
        else:
            write_whole(path, text)
        return len(bad)

    def hand_in(self, sheet: Sheet) -> dict[str, Any]:
        """Puts a file where the hub looks, once, and waits for the result beside it.

        Raises `NotDone` where not exactly the good lines were accepted.
        """
        place, name = self.places[sheet.source], sheet.path.name
        if not list(place.rglob(f"*{name}")):
            part = place / f"{name}.part"
            shutil.copyfile(sheet.path, part)
            part.rename(place / name)
        deadline = time.monotonic() + result_ms_max / 1000
        while not (found := list((place / "done").glob(f"*-{name}.result.csv"))):
            if time.monotonic() > deadline:
                raise NotDone(f"{name} was not taken in two minutes")
            time.sleep(0.1)
        with found[0].open(newline="", encoding="utf-8") as file:
            said = Counter(line["status"] for line in csv.DictReader(file))
        refused = said["rejected"] + said["unreadable"]
        if (said["accepted"], refused) != (sheet.good, sheet.bad):
            raise NotDone(f"{name}: {said['accepted']} of {sheet.good} accepted")
        return {"accepted": said["accepted"], "refused": refused}


def _zip(path: Path, text: str) -> None:
    """An export with one file in it that matters; the same bytes for the same text."""
    draft = path.with_suffix(".draft")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as export:
        export.writestr(zipfile.ZipInfo("Export.csv"), "ExportID\r\n1\r\n")
        export.writestr(zipfile.ZipInfo(EXPORTED), text, zipfile.ZIP_DEFLATED)
    draft.replace(path)


def _csv(header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


HMIS = (
    "CurrentLivingSitID", "EnrollmentID", "PersonalID", "InformationDate", "CurrentLivingSituation",
    "CLSSubsidyType", "VerifiedBy", "LeaveSituation14Days", "SubsequentResidence", "ResourcesToObtain",
    "LeaseOwn60Day", "MovedTwoOrMore", "LocationDetails", "DateCreated", "DateUpdated", "UserID",
    "DateDeleted", "ExportID",
)  # fmt: skip
DOCKET = (
    "EntryID", "EntryDate", "EntryTime", "EntryType", "CaseNumber", "DefendantID", "DefendantName",
    "DateOfBirth", "Court", "Courtroom", "HearingID", "HearingType", "HearingStatus", "HearingDate",
    "HearingTime", "Statute", "ChargeDescription", "Severity", "WarrantNumber", "WarrantStatus",
    "Disposition",
)  # fmt: skip


def hmis_row(event: Event) -> dict[str, str]:
    """An outreach contact as a line of `CurrentLivingSituation.csv`."""
    where, _, more = event.fields["place"]["description"].rpartition(": ")
    day = f"{local(event.occurred_at):%Y-%m-%d}"
    return {
        "CurrentLivingSitID": event.id,
        "EnrollmentID": f"E{event.person}",
        "PersonalID": event.fields["local_id"],
        "InformationDate": day,
        "CurrentLivingSituation": _code(LIVING, where),
        "LocationDetails": more,
        "DateCreated": f"{day} 17:00:00",
        "DateUpdated": f"{day} 17:00:00",
        "UserID": event.fields["staff"],
        "ExportID": "1",
    }


def docket_row(event: Event) -> dict[str, str]:
    """A hearing as a line of a court's docket."""
    fields, hearing = event.fields, event.fields["hearing"]
    entered, at = local(event.occurred_at), local(instant(hearing["at"]) or 0)
    born = datetime.strptime(fields["birth_date"], "%Y-%m-%d")
    return {
        "EntryID": event.id,
        "EntryDate": f"{entered:%m/%d/%Y}",
        "EntryTime": f"{entered:%H:%M:%S.%f}",
        "EntryType": "HEARING",
        "CaseNumber": fields["case_number"],
        "DefendantID": fields["local_id"],
        "DefendantName": fields["name"],
        "DateOfBirth": f"{born:%m/%d/%Y}",
        "Court": fields["court"],
        "Courtroom": hearing["room"],
        "HearingID": hearing["id"],
        "HearingType": hearing["kind"],
        "HearingStatus": _code(HEARINGS, hearing["status"]),
        "HearingDate": f"{at:%m/%d/%Y}",
        "HearingTime": f"{at:%H:%M}",
    }


ROSTER = (
    "BookingNumber", "InmateID", "InmateName", "DateOfBirth", "BookedAt", "ReleaseExpected", "ReleasedAt",
    "Facility", "District", "MedicalNeeds", "Status",
)  # fmt: skip
NEEDS = {"MED": "medication", "WD": "withdrawal care", "OTHER": "medical care"}


def roster_row(event: Event) -> dict[str, str]:
    """A stay in jail as a line of its roster."""
    fields = event.fields
    times = {"BookedAt": fields["booked_at"], "ReleasedAt": fields.get("released_at")}
    said = {name: local(instant(text) or 0) for name, text in times.items() if text}
    return {
        "BookingNumber": fields["booking_number"],
        "InmateID": fields["local_id"],
        "InmateName": fields["name"],
        "DateOfBirth": fields["birth_date"],
        "Facility": fields["facility"],
        "District": fields["place"]["district"],
        "MedicalNeeds": "/".join(_code(NEEDS, need) for need in fields["needs"]),
        "Status": "CLOSED" if "released_at" in fields else "HELD",
        **{name: f"{at:%m/%d/%Y %H:%M:%S}" for name, at in said.items()},
    }


def _code(table: Mapping[str, str], meaning: str) -> str:
    return next(code for code, one in table.items() if one == meaning)


def spoilt(channel: str, row: dict[str, str]) -> list[dict[str, str]]:
    """Lines with something wrong in them: a day that does not exist, a code or word that nobody agreed on."""
    if channel == "hmis":
        changes = [{"InformationDate": "2026-02-30"}, {"CurrentLivingSituation": "777"}, {"PersonalID": ""}]
        return [{**row, "CurrentLivingSitID": f"spoilt-{n}", **change} for n, change in enumerate(changes)]
    if channel == "roster":
        return [{**row, "BookingNumber": "spoilt-0", "BookedAt": "noon", "ReleasedAt": ""}]
    changes = [{"HearingStatus": "FTA"}, {"EntryType": "GOSSIP"}]
    return [{**row, "EntryID": f"spoilt-{n}", **change} for n, change in enumerate(changes)]


LAYOUTS: dict[str, tuple[tuple[str, ...], Callable[[Event], dict[str, str]]]] = {
    "hmis": (HMIS, hmis_row),
    "docket": (DOCKET, docket_row),
    "roster": (ROSTER, roster_row),
}
