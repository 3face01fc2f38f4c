"""Wheels of a few lines, for tests that pack and install without a network."""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

# Answers `dagger-edge verify`, as the installer asks it, and says where it is installed.
COMMAND = """
import sys
from pathlib import Path

def main():
    bundle = Path(sys.argv[-1])
    if sys.argv[1] == "verify" and "broken" in (bundle / "prompt.txt").read_text():
        sys.exit("error: it says something else here")
    print("known answer   3 of 3 tokens equal" if sys.argv[1] == "verify" else sys.prefix)
"""


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def make_wheel(folder, name, version, *, requires=(), files=None, tag="py3-none-any", headers=(), scripts=""):
    """Writes a wheel with these headers of METADATA and files, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    metadata = [f"Name: {name}", f"Version: {version}", *headers, *(f"Requires-Dist: {line}" for line in requires)]
    contents = {f"{plain}/__init__.py": f"version = '{version}'\n", **(files or {})}
    contents[f"{info}/METADATA"] = "\n".join(["Metadata-Version: 2.4", *metadata, "", f"# {name}\n"])
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
    contents[f"{info}/licenses/LICENSE"] = "Do what you like."
    if scripts:
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n"
    lines = [f"{file},sha256={digest(text.encode())},{len(text.encode())}" for file, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    path = folder / f"{plain}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as made:
        for file, text in contents.items():
            made.writestr(file, text)
    return path


def lock_of(*wheels):
    """Requirements with hashes for these wheels."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(lines)


def own_wheel(folder, lock, installer, version="9.9"):
    """A dagger-edge of a few lines, with what `pack` takes out of it."""
    files = {
        "dagger_edge/command.py": COMMAND,
        "dagger_edge/docs/deploy.md": "# On site\n",
        "dagger_edge/docs/schema/graph.schema.json": "{}",
        "dagger_edge/requirements/runtime.txt": lock,
        "dagger_edge/requirements/installer.txt": installer,
        "dagger_edge/bundles/demo/manifest.json": "{}",
        "dagger_edge/bundles/demo/prompt.txt": "{question}",
    }
    return make_wheel(
        folder,
        "dagger-edge",
        version,
        requires=["small>=1", "engine>=2; extra == 'cpu'"],
        files=files,
        headers=["License-Expression: Apache-2.0", "Provides-Extra: cpu", "Summary: of a few lines"],
        scripts="dagger-edge = dagger_edge.command:main",
    )


def bundled_pip():
    """The wheel of pip that Python brings along; None where its distributor keeps it elsewhere."""
    import ensurepip

    found = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    return found[-1] if found else None


def here():
    """Version and machine of this Python, as a wheel's tag has them: ``cp311-cp311-manylinux_2_5_x86_64``."""
    import platform

    plain = "cp{}{}".format(*sys.version_info)
    return f"{plain}-{plain}-manylinux_2_5_{platform.machine()}"
