"""docs/backup-format.md is true: its tables are the program's, and a backup can be read by the page alone."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from persistence import manifest
from persistence.manifest import Manifest, SegmentCopy, SnapshotCopy, StoredObject, StoreDump
from persistence.object_store import open_target
from persistence.segments import segments
from tests.backups import flip, sealed_exchange
from tests.pages import blocks, read_page, table

PAGE = read_page("backup-format.md")


def test_the_page_has_every_field_of_a_manifest() -> None:
    """In order; those of its entries are named in the text."""
    rows = table(PAGE, "field", "type", "")
    assert [row[0] for row in rows] == list(Manifest.__struct_fields__)
    text = PAGE[PAGE.index("In every one of these entries") : PAGE.index("## Writing")]
    named = set(re.findall(r"`(\w+)`", text))
    fields = {
        field.name
        for kind in (StoredObject, SegmentCopy, SnapshotCopy, StoreDump)
        for field in msgspec.structs.fields(kind)
    }
    assert named - {"first_seq"} == fields - {"first_seq"}
    assert f"format {manifest.FORMAT}" in PAGE.splitlines()[0]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A target with a backup."""
    folder = tmp_path / "cold"
    folder.mkdir()
    exchange = sealed_exchange(3)
    exchange.snapshot()
    exchange.back_up(open_target(folder.as_uri()))
    return folder


def test_a_backup_is_laid_out_as_the_page_shows(folder: Path) -> None:
    """Every object has a name of one of its three forms, and the manifest's digest is as it says."""
    (lines,) = (block for block in blocks(PAGE, "") if block[0].startswith("manifests/"))
    digits = {"<exchange id>": "[0-9a-f]{32}", "<epoch>": "[0-9]{10}", "<digest>": "[0-9a-f]{16}"}
    digits |= {"<first_seq>": "[0-9]{20}", "<seq>": "[0-9]{20}", "<time_ns>": "[0-9]{20}"}
    forms = [line.split("  ")[0] for line in lines]
    for word, pattern in digits.items():
        forms = [form.replace(word, pattern) for form in forms]
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(names) == 5
    for name in names:
        assert sum(re.fullmatch(form, name) is not None for form in forms) == 1, name
    (path,) = (folder / "manifests").iterdir()
    first, second = path.read_bytes().splitlines(keepends=True)
    words = first.split()
    signed = b" ".join(words[:2]) + b"\n" + second
    assert hashlib.blake2b(signed, digest_size=32).hexdigest().encode("ascii") == words[2]
    assert path.name == f"{json.loads(second)['exchange_id']}-{json.loads(second)['epoch']:010d}.json"


def test_the_page_gets_the_log_back_by_hand(folder: Path) -> None:
    """Its script, run in the target's folder; it stops at a rotten object."""
    (script,) = ("\n".join(lines) for lines in blocks(PAGE, "python"))
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    exchange = sealed_exchange(3)
    for segment in segments(exchange.disk)[:3]:
        assert (folder / segment.path).read_bytes() == exchange.disk.read(segment.path).rstrip(b"\0")
    flip(open_target(folder.as_uri()), str(next(folder.glob("*/reqlog/*")).relative_to(folder)), -5)
    assert subprocess.run(run, cwd=folder, capture_output=True, timeout=30, check=False).returncode == 1
