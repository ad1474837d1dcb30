"""Write the modules of Lit that the web page uses, from the packages of the npm registry.

They are the minified modules as published, but for the paths of their imports: browsers resolve no names of packages.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

#: Folder of the modules.
TARGET = Path(__file__).parent.parent / "src/octabox/frontends/http/ui/static/vendor/lit"

#: Packages with their versions, and the files that are taken from each.
PACKAGES = {
    "@lit/reactive-element@2.1.2": ("reactive-element.js", "css-tag.js"),
    "lit-element@4.2.2": ("lit-element.js",),
    "lit-html@3.3.3": ("lit-html.js", "LICENSE"),
}

#: Modules by the name of their package.
MODULES = {'"@lit/reactive-element"': '"./reactive-element.js"', '"lit-html"': '"./lit-html.js"'}


def main() -> None:
    """Download the packages, and write their files."""
    for package, files in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            command = ["npm", "pack", "--silent", package]
            name = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            with tarfile.open(fileobj=io.BytesIO((Path(folder) / name).read_bytes())) as archive:
                for file in files:
                    member = archive.extractfile(f"package/{file}")
                    assert member is not None
                    (TARGET / file).write_text(to_module(member.read().decode()), encoding="utf-8")


def to_module(text: str) -> str:
    """Return a module whose imports are files beside it, without the address of its source map."""
    for name, file in MODULES.items():
        text = text.replace(name, file)
    return re.sub(r"\n?//# sourceMappingURL=.*", "", text)


if __name__ == "__main__":
    main()
