"""Programs of Debian's packages for tests: fetched and unpacked below build/, not installed."""

import fcntl
import subprocess
from pathlib import Path

UNPACKED = Path(__file__).parent.parent / "build" / "debian"


def program(package: str, path: str) -> Path:
    """A program of a package, by its path in it; its package is fetched when it is asked for first."""
    folder = UNPACKED / package
    found = folder / path
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with (UNPACKED / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run side by side
        if not found.exists():
            _run("apt-get", "download", "--quiet", package)
            (archive,) = UNPACKED.glob(f"{package}_*.deb")
            _run("dpkg-deb", "--extract", str(archive), str(folder))
            archive.unlink()
    assert found.exists(), f"{package} has no {path}"
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=UNPACKED, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}; does apt-get update help?"
