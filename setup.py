"""What pyproject.toml cannot say: `book` is compiled by mypyc where that is possible, and stays Python where it is not.

TALLYSTICK_COMPILE=auto (the default) compiles if it can, 0 never, 1 fails if it cannot. An installation for development
wants 0: a compiled module hides the source beside it, and edits of that would be without effect.
"""

import os
import sys
import sysconfig
from pathlib import Path
from shutil import which

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# msgspec drops the keywords of a compiled Struct class without a word.
INTERPRETED = {"__init__", "commands", "definitions", "events", "image", "queries"}

# A function of a shared library may be replaced from outside, unless one says that it will not be: only then may the
# compiler inline it into another.
FLAGS = ["-fno-semantic-interposition", "-fno-plt"] if os.name == "posix" else []

MODE = os.environ.get("TALLYSTICK_COMPILE", "auto")


def say(line: str) -> None:
    """One line that stands out in the log of a build."""
    print(f"tallystick: {line}", file=sys.stderr, flush=True)  # noqa: T201 -- that is the log


def missing() -> str | None:
    """What a compilation would lack here."""
    if os.name != "posix":
        return None
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.exists() else f"Python's headers are not installed ({header})"


def extensions() -> list[Extension]:
    """The compiled modules: one library with all the code, and a small one in each module's place."""
    if MODE not in {"auto", "0", "1"}:
        raise SystemExit(f"TALLYSTICK_COMPILE is auto, 0 or 1, not {MODE!r}")
    if {"egg_info", "dist_info"} & set(sys.argv):
        return []  # it is only asked what the package is; the build comes later
    reason = "TALLYSTICK_COMPILE=0" if MODE == "0" else missing()
    if reason is not None:
        if MODE == "1":
            raise SystemExit(f"TALLYSTICK_COMPILE=1, but {reason}")
        say(f"the engine stays interpreted: {reason}")
        return []
    modules = [
        str(path)
        for path in sorted(Path("book").glob("*.py"))
        if path.stem not in INTERPRETED and not path.stem.startswith("reference")  # nobody waits for the reference
    ]
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 -- it may be missing, and need not be there for 0

        compiled = mypycify(modules, group_name="book", debug_level="0")
    except (Exception, SystemExit) as error:  # mypyc exits on an error in its input
        if MODE == "1":
            raise
        say(f"the engine stays interpreted: mypyc failed: {error!r}")
        return []
    for extension in compiled:
        extension.extra_compile_args += FLAGS
    return compiled


class AllOrNothing(build_ext):
    """Under `auto`, a compilation that fails leaves no compiled module: the small ones do not work without the large.

    (`Extension.optional` would leave them.)
    """

    def run(self) -> None:
        """Compile."""
        try:
            super().run()
        except Exception as error:
            if MODE == "1":
                raise
            for output in self.get_outputs():
                Path(output).unlink(missing_ok=True)
            self.extensions = []
            say(f"the engine stays interpreted: {error}")
        else:
            if self.extensions:
                say("the engine is compiled")


setup(ext_modules=extensions(), cmdclass={"build_ext": AllOrNothing})
