"""What agencies hand in as files: a whole HMIS export and NIEM messages, put into folders that the hub
watches, and a court's docket, sent by `hub publish`.
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
from examples.county.events import HEARINGS, LIVING, Event
from examples.county.hubside import NotDone
from examples.county.journal import write_whole
from examples.county.messages import charge_case, filing
from examples.county.plan import Scene
from examples.county.record import instant
from examples.county.running import ran

MAPPINGS = {"hmis": "hmis-export", "docket": "court-docket", "niem": "niem-charge-filing"}
ENDINGS = {"hmis": ".zip", "docket": ".csv", "niem": ".xml"}
EXPORTED = "CurrentLivingSituation.csv"
WATCHED = {"reach": "hmis", "city-attorney": "niem"}  # who puts what into a folder
result_ms_max = 120_000


def watched(folder: Path) -> str:
    """The hub's setting `files` for a county that is played in that folder; the watched ones are made."""
    sources = []
    for agency, channel in WATCHED.items():
        place = folder / "watched" / agency
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        mappings = {"*" + ENDINGS[channel]: MAPPINGS[channel]}
        # Files get their name when they are whole, so that there is nothing to wait for.
        sources.append({"agency": agency, "folder": str(place), "mappings": mappings, "settle_ms": 0})
    return json.dumps(sources)


@dataclass(frozen=True)
class Sheet:
    """One file of one agency, with how many good records are in it."""

    path: Path
    source: str
    mapping: str
    good: int
    bad: int


class Files:
    """Writes the scenes' files and hands them in."""

    def __init__(self, folder: Path, address: str, tokens: Mapping[str, str]) -> None:
        self.folder = folder
        self.address = address
        self.tokens = tokens

    def written(self, scene: Scene) -> list[Sheet]:
        """The scene's files, written; the same ones when it is played again."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        sheets = []
        for channel, mapping in MAPPINGS.items():
            events = [event for event in scene.events if event.channel == channel]
            if not events:
                continue
            path = self.folder / f"{scene.name}-{channel}{ENDINGS[channel]}"
            bad = self._write(path, channel, events, spoil=scene.name == "weeks")
            sheets.append(Sheet(path, events[0].source, mapping, len(events), bad))
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
        """Hands in one file. Raises `NotDone` where not exactly the good lines were accepted."""
        return self.leave(sheet) if sheet.source in WATCHED else self.publish(sheet)

    def leave(self, sheet: Sheet) -> dict[str, Any]:
        """Puts a file into the watched folder, once, and waits for the result beside it."""
        place, name = self.folder.parent / "watched" / sheet.source, sheet.path.name
        if not list(place.rglob(f"*{name}")):
            part = place / f"{name}.part"
            shutil.copyfile(sheet.path, part)
            part.rename(place / name)
        deadline = time.monotonic() + result_ms_max / 1000
        while not (found := list((place / "done").glob(f"*-{name}.result.csv"))):
            if time.monotonic() > deadline:
                raise NotDone(f"{name} was not taken from its folder in two minutes")
            time.sleep(0.1)
        with found[0].open(newline="", encoding="utf-8") as file:
            said = Counter(line["status"] for line in csv.DictReader(file))
        refused = said["rejected"] + said["unreadable"]
        if (said["accepted"], refused) != (sheet.good, sheet.bad):
            raise NotDone(f"{name} from its folder: {said['accepted']} of {sheet.good} accepted")
        return {"accepted": said["accepted"], "refused": refused}

    def publish(self, sheet: Sheet) -> dict[str, Any]:
        """Sends one file. Raises `NotDone` where not exactly the good lines were accepted."""
        words = ["publish", str(sheet.path), "--mapping", sheet.mapping, "--agency", sheet.source]
        done = ran([*words, "--url", self.address, "--json"], {"HUB_TOKEN": self.tokens[sheet.source]})
        if done.returncode != (1 if sheet.bad else 0):
            raise NotDone(
                f"hub publish {sheet.path.name} ended with {done.returncode}: {done.stderr[-2000:]}"
            )
        told = json.loads(done.stdout)
        refused = told["rejected"] + told["unreadable"]
        if (told["accepted"], refused) != (sheet.good, sheet.bad):
            raise NotDone(f"hub publish {sheet.path.name}: {told['accepted']} of {sheet.good} accepted")
        return {"accepted": told["accepted"], "refused": refused}


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


def _code(table: Mapping[str, str], meaning: str) -> str:
    return next(code for code, one in table.items() if one == meaning)


def spoilt(channel: str, row: dict[str, str]) -> list[dict[str, str]]:
    """Lines with something wrong in them: a day that does not exist, a code or word that nobody agreed on."""
    if channel == "hmis":
        changes = [{"InformationDate": "2026-02-30"}, {"CurrentLivingSituation": "777"}, {"PersonalID": ""}]
        return [{**row, "CurrentLivingSitID": f"spoilt-{n}", **change} for n, change in enumerate(changes)]
    changes = [{"HearingStatus": "FTA"}, {"EntryType": "GOSSIP"}]
    return [{**row, "EntryID": f"spoilt-{n}", **change} for n, change in enumerate(changes)]


LAYOUTS: dict[str, tuple[tuple[str, ...], Callable[[Event], dict[str, str]]]] = {
    "hmis": (HMIS, hmis_row),
    "docket": (DOCKET, docket_row),
}
