"""For `make docs`: README and CONTRIBUTING become pages of the site, and links to and from them lead there.

A link into the sources is its text alone: the site has none.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# In the clone, where `docs` is a folder; and on the site, where it is all there is.
PAGES = {"README.md": "start.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add them."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links as the clone has them to where the site has it."""
    here = page.file.src_uri
    in_clone = {site: name for name, site in PAGES.items()}.get(here, f"docs/{here}")

    def led(link: "re.Match[str]") -> str:
        text, path, anchor = link.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(in_clone), path))
        if target in PAGES:
            target = f"docs/{PAGES[target]}"
        if not target.startswith("docs/"):
            return text
        relative = posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(here) or ".")
        return f"[{text}]({relative}{anchor})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)([^)#\s]+)((?:#[^)\s]*)?)\)", led, markdown).replace(
        "](docs/", "]("
    )
