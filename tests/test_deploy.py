"""What lies in deploy/: the samples are right, and the unit says what the program means."""

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from persistence.exits import Exit
from tallystick import config

DEPLOY = Path(__file__).parent.parent / "deploy"
UNIT = (DEPLOY / "systemd" / "tallystick.service").read_text(encoding="utf-8")
MENDED_BY_A_RESTART = {Exit.DONE, Exit.GAVE_UP, Exit.STUCK_CHILD}


@pytest.mark.parametrize("name", ["testing", "staging", "production"])
def test_the_samples_are_right(name: str) -> None:
    """As `check-config` sees it; test money only where there is no other, unsigned logons only on loopback."""
    settings = config.load(DEPLOY / "config" / f"{name}.toml").config
    assert settings.admin.test_money == (name != "production")
    assert settings.gateway.unsigned_logon == (name == "testing")
    assert bool(settings.backup.target) == (name != "testing")
    assert settings.matching.definitions


def test_production_is_staging_but_for_what_is_named() -> None:
    """The same markets, so that what was tried is what runs."""
    staging, production = (config.load(DEPLOY / "config" / f"{name}.toml").config for name in ("staging", "production"))
    assert staging.matching == production.matching


def test_the_unit_restarts_what_a_restart_mends() -> None:
    """And no other exit code."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parser.read_string(UNIT)
    never = {int(code) for code in parser["Service"]["RestartPreventExitStatus"].split()}
    assert never == {int(code) for code in Exit if code not in MENDED_BY_A_RESTART}
    wanted = config.load(DEPLOY / "config" / "production.toml").config.gateway.max_connections + 256
    assert int(parser["Service"]["LimitNOFILE"]) >= wanted


@pytest.mark.process
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """Systemd's own judgement, where systemd is: not worse than the page of deploying says."""
    page = (DEPLOY.parent / "docs" / "operations" / "deploying.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"exposure level of ([0-9]+[.][0-9]+)", page)
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert "NoNewPrivileges=yes" in UNIT
        return
    unit = tmp_path / "tallystick.service"
    unit.write_text(UNIT.replace("/opt/tallystick/tallystick", "/bin/true"))
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (level,) = re.findall(r"Overall exposure level for tallystick.service: ([0-9.]+)", done.stdout)
    assert float(level) <= float(told)


def test_the_sample_for_logs_is_toml() -> None:
    """It takes what the unit writes."""
    sample = tomllib.loads((DEPLOY / "logging" / "vector.toml").read_text(encoding="utf-8"))
    assert sample["sources"]["journal"]["include_units"] == ["tallystick.service"]
    assert sample["sinks"]["store"]["inputs"] == ["lines"]
