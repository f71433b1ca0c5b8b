"""edgeseg and what others would use in its place, on the same frames and cores, in turns in one run.

    python -m benchmarks.peers [-o benchmarks/records/DATE-CPU] [--only model_api --only pytorch/eager] [--rounds 24]

The first run makes a virtual environment for each peer, and each converts and quantizes the network: half an hour. What
they made is kept, and later runs take ten minutes. The record goes to the folder, and benchmarks/RESULTS.md is written
from it where all peers were asked for, edgeseg was measured, and it lies in benchmarks/records.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from benchmarks.peers.comparison import compare
from benchmarks.peers.entries import ENTRIES, REFERENCE, chosen
from benchmarks.peers.explain import add_roofline
from benchmarks.peers.lane import Workplace
from benchmarks.peers.material import open_material
from benchmarks.peers.record import Settings, read_record, write_record
from benchmarks.peers.results import RECORDS, RESULTS, markdown
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.files import write_bytes

FOLDER = Path(__file__).parent
USUAL = Settings()


def main(words: list[str] | None = None) -> int:
    """Measure, print, and keep the record. 1 where edgeseg itself was not measured."""
    asked = _parser().parse_args(words)
    if asked.page:
        write_bytes(RESULTS, markdown(read_record(asked.page / "peers.json"), asked.page.resolve()).encode())
        return 0
    settings = Settings(
        only=tuple(asked.only),
        rounds=asked.rounds,
        turn_s=asked.turn,
        data=asked.data,
        cores=_cores(asked.cores),
        engine=asked.engine,
    )
    entries = chosen(settings.only)
    if asked.engine:
        own = dataclasses.replace(REFERENCE, variant=str(Path(asked.engine).resolve()))
        entries = tuple(own if entry == REFERENCE else entry for entry in entries)
    place = Workplace(asked.work, FOLDER / ".venvs", settings.cores)
    _say("frames, labels and networks ...")
    material = open_material(settings.data, place.given)
    record, samples = compare(entries, material, settings, place, _say)
    if not samples["kernel.ms"].size:
        raise EdgesegError("It was stopped before anything was measured.", hint="What was prepared is kept.")
    _say("edgeseg's roofline ...")
    record = add_roofline(record, samples, place)
    path = write_record(record, samples, asked.out)
    text = markdown(record, path.parent)
    whole = len(entries) == len(ENTRIES) and record.complete and record.entries[0].latency is not None
    if whole and path.parent.resolve().parent == RECORDS:
        write_bytes(RESULTS, text.encode())
    print(text)
    _say(f"record: {path}")
    return 0 if record.entries[0].latency is not None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=FOLDER / "work" / "record", help="Folder of the record.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="A peer or one of its entries.")
    parser.add_argument("--rounds", type=int, default=USUAL.rounds)
    parser.add_argument("--turn", type=float, default=USUAL.turn_s, metavar="SECONDS", help="Of each entry in a round.")
    parser.add_argument("--data", default=USUAL.data, help="A folder with train/ and val/, or the name of a data set.")
    parser.add_argument("--cores", default="", help="Numbers of the cores, as 0,1; by default the first two.")
    parser.add_argument("--engine", default=USUAL.engine, help="Measure this one of edgeseg's; none is built.")
    parser.add_argument("--work", type=Path, default=FOLDER / "work", help="Keeps what is prepared.")
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="Measure nothing; write RESULTS.md from the record in this folder."
    )
    return parser


def _cores(words: str) -> tuple[int, ...]:
    there = sorted(os.sched_getaffinity(0))
    if not words:
        return tuple(there[: len(USUAL.cores)])
    try:
        found = tuple(int(word) for word in words.split(","))
    except ValueError:
        found = ()
    if not found or not set(found) <= set(there):
        raise UsageError(f"'{words}' are no cores of this machine.", hint=f"Possible: {','.join(map(str, there))}.")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgesegError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted; what was prepared is kept")
        sys.exit(130)
