"""All checks, each in an environment of its own: `nox` runs everything that CI runs; `nox -l` lists them."""

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests", "package", "export"]
nox.options.reuse_existing_virtualenvs = True

TORCH = "torch==2.13.0"
PEFT = "peft>=0.18,<0.22"  # what merged adapters are compared with
GENAI = "onnxruntime-genai>=0.18,<0.19"  # which opens our bundles too


@nox.session
def lint(session: nox.Session) -> None:
    """ruff (rules and format) and mypy strict."""
    session.install("-q", "-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests that need no torch, in an environment without it."""
    session.install("-q", "-e", ".[dev]")
    session.run("pytest", "-m", "not export and not ray", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Builds sdist and wheel, installs the wheel alone, and solves a question with it."""
    session.install("-q", "build")
    out = Path(session.create_tmp()) / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "-m", "build", "-q", "--outdir", str(out), silent=True)
    session.run("python", "tests/packaging/check_wheel.py", str(out))


@nox.session
def export(session: nox.Session) -> None:
    """The tests of the export and of the demo's training, with torch, transformers and optimum-onnx."""
    session.install("-q", TORCH)
    session.install("-q", PEFT, GENAI, "-e", ".[export,dev]")
    session.run("pytest", "-m", "export", *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """`batch` on a Ray cluster of several nodes here. Not among the default ones: Ray is 240 MB, and alone uses it."""
    session.install("-q", "-e", ".[dev,ray]")
    session.run("pytest", "-m", "ray", *session.posargs)
