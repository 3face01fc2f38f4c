"""What a caller reads of the public names in an editor."""

import importlib
import inspect
import pkgutil
import re

import pytest

import dagger_edge as de
from dagger_edge import cli, runtime

CLASSES = [name for name in de.__all__ if inspect.isclass(getattr(de, name))]


def error_classes():
    """Every class of the hierarchy, from all modules of the runtime and the command line."""
    for package in (runtime, cli):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    found, waiting = [], [de.DaggerEdgeError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


def members(owner):
    """The public fields, and the public methods and properties with their docstrings."""
    fields, functions = [], {}
    for name, member in vars(owner).items():
        if name.startswith("_") or name == "exit_code":
            continue
        if inspect.ismemberdescriptor(member):
            fields.append(name)
        else:
            functions[name] = inspect.getdoc(member)
    return fields, functions


def is_described(name, text):
    """Whether ``text`` has ``name`` in a list of attributes or in code."""
    return re.search(rf"^ *(?:\w+, )*{name}(?:, \w+)*: |``{name}``", text, re.MULTILINE) is not None


@pytest.mark.parametrize("name", de.__all__)
def test_every_public_name_and_method_has_a_docstring_of_its_own(name):
    """A function that a caller has to read to use; a docstring that is inherited says nothing of the class."""
    thing = getattr(de, name)
    assert vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    for method, text in members(thing)[1].items() if inspect.isclass(thing) else ():
        assert text, method


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_field_is_described(name):
    """A field whose unit or meaning only the source tells."""
    owner = getattr(de, name)
    for field in members(owner)[0]:
        assert is_described(field, inspect.getdoc(owner)), field


def test_every_error_describes_its_attributes_and_exit_code():
    """An attribute of an error that a caller cannot know of, or another exit code than the one that is told."""
    for error in error_classes():
        text = inspect.getdoc(error)
        assert f"exit code {error.exit_code}" in text, error
        for name in inspect.signature(error).parameters if "__init__" in vars(error) else ():
            assert name == "message" or is_described(name, text), (error, name)
