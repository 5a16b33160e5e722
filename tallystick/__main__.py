"""`python -m tallystick` is the `tallystick` command."""

from tallystick.cli import main

main()
