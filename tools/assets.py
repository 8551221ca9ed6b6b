"""Copy what the pages need of other projects into the package: scripts, styles, icons; nothing is fetched by a browser.

``src/otvet/web/static/assets.json`` names the npm packages with their versions and the hash of every copied file.
``--check`` compares the files with these hashes and asks nobody.

Run: python -m tools.assets [--check]    (needs npm)
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STATIC = Path(__file__).resolve().parent.parent / "src" / "otvet" / "web" / "static"
MANIFEST = STATIC / "assets.json"
SYMBOL = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def copy(manifest: dict[str, Any], folder: Path) -> None:
    """Unpack the packages into ``folder`` and copy their files; the manifest gets the new hashes."""
    for package in manifest["packages"]:
        where = folder / package["name"].replace("/", "+")
        where.mkdir()
        npm = shutil.which("npm") or sys.exit("npm is needed to copy the assets anew")
        pack = [npm, "pack", "--silent", f"{package['name']}@{package['version']}"]
        packed = subprocess.run(pack, cwd=where, capture_output=True, text=True, check=True)  # noqa: S603 - fixed
        shutil.unpack_archive(where / packed.stdout.strip().splitlines()[-1], where)
        for target, source in package.get("files", {}).items():
            shutil.copyfile(where / "package" / source, STATIC / target)
        if "icons" in package:
            (STATIC / "icons.svg").write_text(sprite(where / "package" / "icons", package["icons"]))
        shutil.copyfile(where / "package" / "LICENSE", STATIC / f"LICENSE.{package['name'].partition('.')[0]}.txt")
    manifest["sha256"] = hashes()
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")


def sprite(icons: Path, names: list[str]) -> str:
    """One file of symbols, drawn in the colour of the words beside them."""
    drawn = []
    for name in names:
        found = SYMBOL.search((icons / f"{name}.svg").read_text())
        assert found is not None, name
        drawn.append(f'<symbol id="{name}" viewBox="0 0 24 24">{" ".join(found[1].split())}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(drawn) + "\n</svg>\n"


def hashes() -> dict[str, str]:
    """{file: SHA-256} of what was copied; our own files are not in it."""
    packages = json.loads(MANIFEST.read_text())["packages"]
    names = {"icons.svg", *(name for package in packages for name in package.get("files", {}))}
    copied = sorted(path for path in STATIC.iterdir() if path.name in names or path.name.startswith("LICENSE."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in copied}


def main() -> None:
    manifest = json.loads(MANIFEST.read_text())
    if "--check" in sys.argv[1:]:
        if hashes() != manifest["sha256"]:
            sys.exit("the copied files of src/otvet/web/static differ from assets.json; run: python -m tools.assets")
        return
    with tempfile.TemporaryDirectory() as folder:
        copy(manifest, Path(folder))


if __name__ == "__main__":
    main()
