"""Writes tallystick/demo_token.py from token.vy. Needs vyper, which nothing else here does.

python -m venv build/vyper && build/vyper/bin/pip install vyper==0.4.3
build/vyper/bin/python tests/tokens/compile.py
"""

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

SOURCE = Path(__file__).with_name("token.vy")
TARGET = SOURCE.parents[2] / "tallystick" / "demo_token.py"


def main() -> None:
    """Compile and write."""
    vyper = Path(sys.executable).with_name("vyper")
    done = subprocess.run(
        [vyper, "-f", "bytecode", "--evm-version", "shanghai", SOURCE], capture_output=True, text=True, check=True
    )
    lines = "\n".join(f'    "{line}"' for line in textwrap.wrap(done.stdout.strip().removeprefix("0x"), 100))
    TARGET.write_text(
        '"""The token of private chains, compiled: tests/tokens/compile.py makes this of token.vy."""\n\n'
        "from typing import Final\n\n"
        f'SOURCE_SHA256: Final = "{hashlib.sha256(SOURCE.read_bytes()).hexdigest()}"\n\n'
        f"BYTECODE: Final = (\n{lines}\n)\n"
    )


if __name__ == "__main__":
    main()
