"""The page at `/`: it loads nothing, and its policy lets nothing but itself run. (How it looks is looked at.)"""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import dagger_edge.cli.server.page as module

SCRIPT = (Path(module.__file__).parent / "web" / "page.js").read_text(encoding="utf-8")


def source(text):
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_this_script_and_these_styles_alone(client):
    """A page that a browser refuses to run after an edit, or a script of a model's that it would run."""
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert len(scripts) == len(styles) == 1
    assert policy["script-src"] == source(scripts[0])
    assert source(styles[0]) in policy["style-src"].split()
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"


def test_nothing_is_loaded_from_anywhere(client):
    """A page that is empty where there is no internet."""
    text = client.get("/").text
    assert "http" not in text.replace("http-equiv", "")
    assert re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">)]*)', text) == ["data:,"]


def test_what_comes_from_outside_is_never_parsed_as_html():
    """A label that a model wrote, run as markup in the teacher's browser."""
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "text/html"):
        assert name not in SCRIPT


def test_both_languages_have_every_text(client):
    """A button that says undefined in one of the languages."""
    bengali, english = re.findall(r"^  (?:bn|en): \{(.*?)^  \},", SCRIPT, re.DOTALL | re.MULTILINE)
    keys = [re.findall(r'(?<![\w{"])([a-z_]+): ["{]', language) for language in (bengali, english)]
    assert sorted(keys[0]) == sorted(keys[1])
    used = {*re.findall(r'data-(?:text|hint)="(\w+)"', client.get("/").text)}
    assert used
    assert used <= set(keys[0])
