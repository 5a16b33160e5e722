"""`make bench`: every published benchmark, with the machine it ran on."""

import os
import platform

from bench import end_to_end, engine, followers, replay, reqlog, snapshot, wire


def main() -> None:
    """Run all, one after the other."""
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    engine.main([])
    reqlog.main()
    replay.report(replay.REQUESTS)
    snapshot.report(replay.REQUESTS)
    wire.main()
    end_to_end.main()
    followers.main([])


main()
