"""The house stands on its floors: a module imports only from below it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import actors

HOUSE = Path(actors.__file__).parent

FLOORS = [
    {"stages", "errors", "environment", "limits", "checks"},
    {"kernel", "context"},
    {"events"},
    {"receipts"},
    {"protocol"},
    {"delivery"},
    {"stores", "wire"},
    {"threads", "users"},
    {"connections", "runs", "observability"},
    {"server"},
    {"options", "tree", "runtime"},
    {"client"},
    {"web", "examples"},
    {"tools", "testing"},
]
"""From the ground up. Within a floor modules may import each other, except as the tests below forbid."""

PURE = {"trio", "time", "random", "secrets", "socket", "os", "threading"}
"""Modules that code which decides must not import, because it does not wait, read a clock, or throw dice."""


def modules() -> list[Path]:
    return sorted(path for path in HOUSE.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"})


def room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a module imports when it runs."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down(path: Path) -> None:
    """No module imports from a floor above its own; sub-packages of one floor do not know each other."""
    own = room(path)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "actors" or len(parts) == 1:
            continue
        assert floor(parts[1]) <= floor(own), f"{path.relative_to(HOUSE)} imports {name}, from above"
        assert parts[1] == own or not {parts[1], own} <= {"stores", "wire"}, f"{path.relative_to(HOUSE)} imports {name}"


def test_few_modules_stand_beside_the_folders() -> None:
    """The first listing that a reader sees is folders, and few enough modules to know each by its name."""
    beside = [path.name for path in modules() if path.parent == HOUSE]
    assert len(beside) <= 10, beside


ACTORS = {"threads", "users", "connections", "runs"}


@pytest.mark.parametrize("kind", sorted(ACTORS))
def test_actors_do_not_import_each_other(kind: str) -> None:
    """Actors hold addresses: of another kind of actor a module knows its messages, and who is present."""
    for path in (HOUSE / kind).glob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if len(parts) > 2 and parts[1] in ACTORS - {kind}:
                assert parts[2] in {"messages", "presence", "emitter", "registry"}, f"{path.name} imports {name}"


def test_the_kernel_knows_no_event() -> None:
    """The kernel is an actor library by itself: of the rest of this package it imports errors and clocks."""
    for path in (HOUSE / "kernel").glob("*.py"):
        ours = {name for name in imported(path) if name.startswith("actors.")}
        others = {name for name in ours if not name.startswith("actors.kernel.")}
        assert others <= {"actors.errors", "actors.environment"}, path.name


PURE_FOLDERS = ("delivery", "protocol", "events")
PURE_MODULES = ("stages", "runs/text_buffer", "runs/turns", "runs/thread_index", "kernel/bounded", "kernel/restarts")


def pure_modules() -> list[Path]:
    folders = [path for folder in PURE_FOLDERS for path in sorted((HOUSE / folder).glob("*.py"))]
    return folders + [HOUSE / f"{name}.py" for name in PURE_MODULES]


@pytest.mark.parametrize("path", pure_modules(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_what_decides_is_pure(path: Path) -> None:
    """The pure core has no trio, no clock, no randomness and no I/O."""
    assert not PURE & {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_constructors_can_be_read_where_they_are_called(path: Path) -> None:
    """A constructor takes six arguments at most, and four of them at most by position."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            by_position = node.args.posonlyargs + node.args.args[1:]
            assert len(by_position) <= 4, f"{path.name}:{node.lineno}"
            assert len(by_position) + len(node.args.kwonlyargs) <= 6, f"{path.name}:{node.lineno}"


PROTOCOL_NEEDS = {f"actors.{name}" for name in ("errors", "stages")} | {
    f"actors.events.{name}" for name in ("delivered", "numbers", "surrogates")
}


def test_the_protocol_stands_alone() -> None:
    """The messages of both roles need errors and what events are made of, and nothing that waits: a host without Trio
    can read and write them."""
    needs = [HOUSE / f"{name.removeprefix('actors.').replace('.', '/')}.py" for name in PROTOCOL_NEEDS]
    for path in [*(HOUSE / "protocol").glob("*.py"), *needs]:
        ours = {name for name in imported(path) if name.startswith("actors.")}
        assert {name for name in ours if not name.startswith("actors.protocol.")} <= PROTOCOL_NEEDS, path.name
        assert not PURE & {name.partition(".")[0] for name in imported(path)}, path.name


def test_one_importer_of_the_engine() -> None:
    """trio-websocket is imported in exactly one module."""
    importers = [path.name for path in modules() if any(name.startswith("trio_websocket") for name in imported(path))]
    assert importers == ["websocket.py"]


def test_one_door_for_time_and_chance() -> None:
    """Wall clock, randomness and entropy are read in ``environment`` and nowhere else."""
    forbidden = {"time", "random", "secrets", "uuid"}
    readers = [
        str(path.relative_to(HOUSE))
        for path in modules()
        if path.name != "environment.py" and forbidden & {name.partition(".")[0] for name in imported(path)}
    ]
    assert readers == []


OWN = {"testing/observing.py", "testing/store.py"}
"""Modules whose ``except Exception`` is around code of this package, and raises again or gives back what it caught."""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_one_barrier(path: Path) -> None:
    """Code that is not ours is called behind a ``Barrier``: ``except Exception`` lets through what ends the program."""
    if path.relative_to(HOUSE).as_posix() in OWN:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            names = {one.id for one in ast.walk(node.type or node) if isinstance(one, ast.Name)}
            all_of_them = node.type is None or "Exception" in names
            assert not all_of_them or _is_of_a_group(path, node), ast.unparse(node)


def _is_of_a_group(path: Path, handler: ast.ExceptHandler) -> bool:
    return path.read_text().splitlines()[handler.lineno - 1].lstrip().startswith("except*")


PROSE = (
    "kernel", "events", "delivery", "stores", "threads", "users", "connections",
    "client", "observability", "runs", "web",
    "receipts", "stages", "errors", "limits", "bounds", "bounded", "environment",
    "examples", "testing", "tools", "wire",
)  # fmt: skip
"""Rooms whose docstrings open as the tests below say."""

CLAUSE = re.compile(r"(What|Whatever|Whether|Who|Whoever|Whom|Whose|Which|Why|How|When|Where)\b")
PERSON = re.compile(r"\b(nobody|somebody|anybody|everybody|whoever|whom|he|him|his)\b", re.IGNORECASE)


def spoken_modules() -> list[Path]:
    return [path for path in sorted(HOUSE.rglob("*.py")) if room(path) in PROSE]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of every docstring, those of attributes included."""
    for node in ast.walk(ast.parse(path.read_text())):
        for one in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            match one:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield one.lineno, text


@pytest.mark.parametrize("path", spoken_modules(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_docstrings_open_with_a_noun_or_an_imperative(path: Path) -> None:
    """A first line names the thing or the act: a clause in its place has to be read to its end to know which."""
    clauses = [f"{line}: {text.splitlines()[0]}" for line, text in docstrings(path) if CLAUSE.match(text)]
    assert clauses == []


@pytest.mark.parametrize("path", spoken_modules(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_conditions_open_with_true(path: Path) -> None:
    """A property that is a bool says of which condition it is true."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "bool":
            text = ast.get_docstring(node)
            is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
            assert not is_property or text is None or text.startswith("True "), f"{node.lineno}: {text}"


@pytest.mark.parametrize("path", spoken_modules(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_no_program_is_somebody(path: Path) -> None:
    """An actor, a caller and a socket have names; so has a user, who is not taken for a man."""
    people = [f"{line}: {found[0]}" for line, text in docstrings(path) if (found := PERSON.search(text))]
    assert people == []


PAIRED_FOLDERS: tuple[str, ...] = ("examples", "testing", "tools", "wire")
"""Folders of which each module has a test of its name in the same folder of ``tests``."""

TESTED_ELSEWHERE: dict[str, str] = {
    "examples/assistant": "tests/tools/test_demo.py starts it as a reader does, from the command line",
    "testing/agents": "every seed of tests/testing/test_performance.py runs scripted agents",
    "testing/device": "every seed of tests/testing/test_performance.py has devices, and the mutants prove them strict",
    "testing/fixtures": "tests/testing/test_scenarios.py uses the fixture",
    "testing/invariants": "tests/testing/test_command.py compares what the command lists with them",
    "testing/link": "tests/testing/test_proxy.py drives links between real sockets",
    "testing/observing": "tests/testing/test_mutants.py: without it no mutant of the emitter is caught",
    "testing/store": "tests/testing/test_scenarios.py fails each of its calls, in each way",
    "testing/troubles": "tests/testing/test_performance.py performs each kind",
    "testing/verdict": "tests/testing/test_mutants.py: each mutant contradicts one of its checks",
    "testing/world": "tests/testing/test_scenarios.py opens worlds as applications do",
    "tools/backpressure": "tests/tools/test_serve.py reads a long input beside a device that is slow",
    "tools/cli": "every test of tests/tools gives command lines to it",
    "tools/default_owner": "tests/tools/test_serve.py serves lines that name no user",
    "tools/serving": "tests/tools/test_serve.py listens with it, and is refused in each way",
    "wire/tls": "tests/wire/test_endpoint.py runs one suite over every kind of endpoint, TLS included",
    "wire/websocket": "tests/connections, tests/client and tests/system/abuse: every connection is one",
}
"""Modules that have no test of their name, and the reason."""


@pytest.mark.parametrize("folder", PAIRED_FOLDERS)
def test_a_module_has_a_test_of_its_name(folder: str) -> None:
    """The test of a module is found by its name, or by a line that says where it is."""
    tests = Path(__file__).parent / folder
    modules_ = {path.stem for path in (HOUSE / folder).glob("*.py") if not path.name.startswith("__")}
    untested = {f"{folder}/{name}" for name in modules_ if not (tests / f"test_{name}.py").exists()}
    assert untested == {name for name in TESTED_ELSEWHERE if name.startswith(f"{folder}/")}
    for name in untested:
        where = TESTED_ELSEWHERE[name].replace(":", " ").replace(",", " ").split()
        named = [Path(__file__).parent.parent / word for word in where if word.startswith("tests/")]
        assert named, f"{name}: expected the path of a test"
        assert all(path.exists() for path in named), f"{name}: {TESTED_ELSEWHERE[name]}"


SMALL_CLASS_FOLDERS: tuple[str, ...] = ("examples", "testing", "tools", "wire")
"""Folders whose classes have fewer than 25 methods."""


@pytest.mark.parametrize("folder", SMALL_CLASS_FOLDERS)
def test_classes_are_small(folder: str) -> None:
    """A class of 25 methods has objects in it that are not found yet."""
    for path in sorted((HOUSE / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
                assert len(methods) < 25, f"{path.relative_to(HOUSE)}: {node.name} has {len(methods)} methods"
