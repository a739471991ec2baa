"""Every Python example in the documentation runs, and what the pages list is what there is."""

import contextlib
import doctest
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pymodels
from docs import declarations
from pymodels.capabilities import CAPABILITIES
from pymodels.ext import lmdb, memory, mongodb, pickled, shelve, tokyo_cabinet, tokyo_tyrant
from pymodels.lookups import LOOKUPS
from pymodels.query import Query
from pymodels.storage import Storage
from tests import mongodb_server, tyrants

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]
EXAMPLE_URI = "mongodb://localhost/?replicaSet=rs0"
BACKENDS: dict[str, type[Storage]] = {
    "memory": memory.Storage,
    "lmdb": lmdb.Storage,
    "pickled": pickled.Storage,
    "shelve": shelve.Storage,
    "tokyo_cabinet": tokyo_cabinet.Storage,
    "tokyo_tyrant": tokyo_tyrant.Storage,
    "mongodb": mongodb.Storage,
}

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the Python examples of a page, each with the line that it begins at."""
    text = page.read_text(encoding="utf-8")
    if EXAMPLE_URI in text:
        text = text.replace(EXAMPLE_URI, mongodb_server.uri())
    for found in _BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)), found[1]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module to run a page's examples in, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known, modules = dict(LOOKUPS), set(sys.modules)
    made = sys.modules["examples_of_a_page"] = ModuleType("examples_of_a_page")
    yield made
    LOOKUPS.clear()
    LOOKUPS.update(known)
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")) or (
            name == made.__name__
        ):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_runs(page: Path, module: ModuleType) -> None:
    """Run the examples of one page in their order, as one program."""
    with server(page):
        run(page, module)


@contextlib.contextmanager
def server(page: Path) -> Iterator[None]:
    """Serve a table file in the current folder, to the one page that needs it."""
    if page.name != "tokyo_tyrant.md":
        yield
        return
    pid = tyrants.start("storage.sock", "storage.tct")
    try:
        yield
    finally:
        tyrants.end(pid)


def run(page: Path, module: ModuleType) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for line, code in blocks(page):
        if code.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(
                code, module.__dict__, f"{page.name}", str(page), line
            )
            report: list[str] = []
            runner.run(test, out=report.append, clear_globs=False)
            assert not report, "".join(report)
            module.__dict__.update(test.globs)
        else:
            # Padded, so that a traceback names the line of the page.
            exec(compile("\n" * line + code, str(page), "exec"), module.__dict__)


def test_pages_with_examples() -> None:
    # A page whose fences are misspelt would pass above without running anything.
    without = {page for page in PAGES if not any(blocks(page))}
    assert without == {DOCS / name for name in ("api.md", "architecture.md", "index.md")}


def _words(*pages: Path) -> set[str]:
    return set(re.findall(r"\w+", "\n".join(page.read_text(encoding="utf-8") for page in pages)))


def test_the_public_names_are_those_of_the_reference() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    named = re.findall(
        r"^\.\. auto(?:class|function|exception):: pymodels\.(\w+)$", text, re.MULTILINE
    )
    assert sorted(named) == sorted(pymodels.__all__)
    public = {
        name
        for name, value in vars(pymodels).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(pymodels.__all__)


def test_every_public_name_is_explained() -> None:
    pages = [page for page in PAGES if page.name != "api.md"]
    assert set(pymodels.__all__) - _words(*pages) == set()


def test_the_tables_of_declarations_are_current() -> None:
    text = declarations.PAGE.read_text(encoding="utf-8")
    assert text == declarations.current(text), "run: python -m docs.declarations"
    assert set(declarations.backends()) == set(BACKENDS)


def _members(cls: type) -> set[str]:
    ours = [base for base in cls.__mro__ if base.__module__.startswith("pymodels.")]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("cls", "internal"),
    [
        # For those who write a backend, or for the core itself.
        (pymodels.Model, {"pk"}),
        (pymodels.Path, {"of", "parts", "owner", "literal"}),
        (Query, {"native", "plan", "rows", "all_rows", "columns", "keys_for", "place"}),
    ],
    ids=["Model", "Path", "Query"],
)
def test_the_reference_lists_every_method(cls: type, internal: set[str]) -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    found = re.search(
        rf"autoclass:: pymodels\.(?:\w+\.)?{cls.__name__}\n +:members: ([\w\s,]+)\n\n", text
    )
    assert found is not None
    assert set(re.findall(r"\w+", found[1])) == _members(cls) - internal


@pytest.mark.parametrize("page", ["queries.md", "semantics.md"])
def test_every_lookup_is_documented(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert {name for name in LOOKUPS if f"`{name}`" not in text} == set()


def _table(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its two head rows."""
    lines = page.read_text(encoding="utf-8").split(heading, 1)[1].split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def test_the_readme_says_what_each_backend_declares() -> None:
    head, *rows = _table(ROOT / "README.md", "## Backends")
    backends = [name.strip("`") for name in head[1:]]
    assert set(backends) == set(BACKENDS)
    declared = {
        backend: {row[0].split("`")[1] for row in rows if row[number] == "yes"}
        for number, backend in enumerate(backends, start=1)
    }
    assert declared == {name: set(made.capabilities) for name, made in BACKENDS.items()}
    assert {row[0].split("`")[1] for row in rows} == set(CAPABILITIES)
    assert {cell for row in rows for cell in row[1:]} <= {"yes", "no", "some"}
    some = {
        (backend, row[0].split("`")[1])
        for row in rows
        for backend, cell in zip(backends, row[1:], strict=True)
        if cell == "some"
    }
    assert some == {(name, one) for name, made in BACKENDS.items() for one in made.may_declare}


def test_the_page_for_backend_writers_lists_every_capability() -> None:
    _, *rows = _table(DOCS / "writing-a-backend.md", "## Capabilities")
    assert [row[0].strip("`") for row in rows] == list(CAPABILITIES)


@pytest.mark.parametrize("backend", BACKENDS)
def test_documented_settings_are_those_there_are(backend: str) -> None:
    _, *rows = _table(DOCS / "backends" / f"{backend}.md", "## Settings")
    documented = [row[0].strip("`") for row in rows]
    assert documented == list(inspect.signature(BACKENDS[backend]).parameters)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            path, _, heading = target.partition("#")
            if "://" in target:
                continue
            found = page.parent / path if path else page
            assert found.exists(), f"{page.name}: {target}"
            if heading:
                headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in {_anchor(one) for one in headings}, f"{page.name}: {target}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
