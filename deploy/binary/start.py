"""Where the single binary begins: the `tallystick` command."""

from tallystick.cli import main

main()
