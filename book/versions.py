"""The versions of the engine's behaviour.

Whatever changes what the same commands lead to is a new version, and takes effect from the logged `SetEngineVersion`
on. An engine replays what any version listed here has logged, and no other.
"""

from typing import Final

VERSIONS: Final = (1,)
