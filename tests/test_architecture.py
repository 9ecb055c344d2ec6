"""The package stands on its floors: a module imports only from below it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import actors

PACKAGE = Path(actors.__file__).parent

FLOORS = [
    {"stages", "errors", "environment", "limits", "checks"},
    {"kernel"},
    {"events"},
    {"receipts"},
    {"protocol"},
    {"delivery", "context"},
    {"stores", "wire"},
    {"threads", "users"},
    {"connections", "runs", "observability"},
    {"server"},
    {"options", "tree", "runtime"},
    {"control"},
    {"client"},
    {"aio"},
    {"asgi", "agui", "http"},
    {"web", "examples"},
    {"tools", "testing"},
]
"""From the ground up. Within a floor modules may import each other, except as the tests below forbid."""

LOWER = {"observability.instrument": "delivery"}
"""Modules that stand on a lower floor than their folder, because what is below the folder calls them."""

PURE = {"trio", "time", "random", "secrets", "socket", "os", "threading"}
"""Modules that code which decides must not import, because it does not wait, read a clock, or throw dice."""


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"})


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a module imports when it runs."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def floor(name: str) -> int:
    """The floor of a module, given its dotted name within the package."""
    name = LOWER.get(name, name).partition(".")[0]
    return next(number for number, names in enumerate(FLOORS) if name in names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    """No module imports from a floor above its own; sub-packages of one floor do not know each other."""
    own = folder_of(path)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "actors" or len(parts) == 1:
            continue
        assert floor(name.removeprefix("actors.")) <= floor(dotted(path)), (
            f"{path.relative_to(PACKAGE)} imports {name}, from above"
        )
        assert parts[1] == own or not {parts[1], own} <= {"stores", "wire"}, (
            f"{path.relative_to(PACKAGE)} imports {name}"
        )


def test_few_modules_stand_beside_the_folders() -> None:
    """The first listing that a reader sees is folders, and few enough modules to know each by its name."""
    beside = [path.name for path in modules() if path.parent == PACKAGE]
    assert len(beside) <= 10, beside


ACTORS = {"threads", "users", "connections", "runs"}


@pytest.mark.parametrize("kind", sorted(ACTORS))
def test_actors_do_not_import_each_other(kind: str) -> None:
    """Actors hold addresses: of another kind of actor a module knows its messages, and who is present."""
    for path in (PACKAGE / kind).glob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if len(parts) > 2 and parts[1] in ACTORS - {kind}:
                assert parts[2] in {"messages", "presence", "emitter", "registry"}, f"{path.name} imports {name}"


def test_the_kernel_knows_no_event() -> None:
    """The kernel is an actor library by itself: of the rest of this package it imports errors and clocks."""
    for path in (PACKAGE / "kernel").glob("*.py"):
        ours = {name for name in imported(path) if name.startswith("actors.")}
        others = {name for name in ours if not name.startswith("actors.kernel.")}
        assert others <= {"actors.errors", "actors.environment"}, path.name


PURE_FOLDERS = ("delivery", "protocol", "events")
PURE_MODULES = (
    "agui/course",
    "agui/mapper",
    "agui/messages",
    "agui/rows",
    "agui/turns",
    "agui/requests",
    "asgi/translation",
    "stages",
    "runs/text_buffer",
    "runs/turns",
    "runs/thread_index",
    "kernel/bounded",
    "kernel/restarts",
)


def pure_modules() -> list[Path]:
    folders = [path for folder in PURE_FOLDERS for path in sorted((PACKAGE / folder).glob("*.py"))]
    return folders + [PACKAGE / f"{name}.py" for name in PURE_MODULES]


@pytest.mark.parametrize("path", pure_modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_decides_is_pure(path: Path) -> None:
    """The pure core has no trio, no clock, no randomness and no I/O."""
    assert not PURE & {name.partition(".")[0] for name in imported(path)}


BY_POSITION = {
    "events/items.Gap": "a program's tests write it as the log says it: from, to, cause",
    "events/items.Reset": "the same: epoch, low, cause",
    "delivery/bounds.Bounds": "three facts of a log that always stand in this order; built for each attach and read",
    "delivery/bounds.Start": "the same of where a device begins",
    "delivery/bounds.Chunk": "built for each read of a log",
    "protocol/codes.Reason": "a row of a table: code, name, text",
    "wire/received.Ended": "a row of the closing table and its text, in the order of the table",
    "events/delivered.Position": "built for each look at a receipt: user, epoch, offset",
}
"""Records with more than two fields by position, and the reason. Structs are not counted, because each event
makes some of them."""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_constructors_can_be_read_where_they_are_called(path: Path) -> None:
    """A constructor takes six arguments at most, and two of them at most by position."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            by_position = node.args.posonlyargs + node.args.args[1:]
            assert len(by_position) <= 2, f"{path.name}:{node.lineno}"
            assert len(by_position) + len(node.args.kwonlyargs) <= 6, f"{path.name}:{node.lineno}"


def positional_records() -> Iterator[str]:
    """Records that take more than two fields by position."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                decorators = [ast.unparse(one) for one in node.decorator_list]
                fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
                by_position = any("attrs" in one and "kw_only=True" not in one for one in decorators)
                if by_position and len(fields) > 2:
                    yield f"{path.relative_to(PACKAGE).with_suffix('').as_posix()}.{node.name}"


def test_records_name_their_fields() -> None:
    """A record of more than two fields is built by their names, but for a few, each with a reason."""
    assert set(positional_records()) == set(BY_POSITION)


PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())

COMPILED: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
"""The modules that mypyc compiles in a compiled build."""


@pytest.mark.parametrize("name", COMPILED)
def test_what_is_compiled_can_be(name: str) -> None:
    """A module that mypyc compiles has no record, which it would take for a plain class, no asynchronous generator, and
    no function that Trio protects from KeyboardInterrupt by its code object, because it would have none."""
    tree = ast.parse((PACKAGE.parent / name).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            kinds = [ast.unparse(one) for one in (*node.bases, *node.decorator_list)]
            assert not any("Struct" in kind or "attrs." in kind for kind in kinds), node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert "ki_protection" not in "".join(map(ast.unparse, node.decorator_list)), node.name
        if isinstance(node, ast.AsyncFunctionDef):
            assert not any(isinstance(one, ast.Yield) for one in ast.walk(node)), node.name


PROTOCOL_NEEDS = {f"actors.{name}" for name in ("errors", "stages")} | {
    f"actors.events.{name}" for name in ("delivered", "numbers", "surrogates")
}


def test_the_protocol_stands_alone() -> None:
    """The messages of both roles need errors and what events are made of, and nothing that waits: a host without Trio
    can read and write them."""
    needs = [PACKAGE / f"{name.removeprefix('actors.').replace('.', '/')}.py" for name in PROTOCOL_NEEDS]
    for path in [*(PACKAGE / "protocol").glob("*.py"), *needs]:
        ours = {name for name in imported(path) if name.startswith("actors.")}
        assert {name for name in ours if not name.startswith("actors.protocol.")} <= PROTOCOL_NEEDS, path.name
        assert not PURE & {name.partition(".")[0] for name in imported(path)}, path.name


def test_one_importer_of_the_engine() -> None:
    """trio-websocket is imported in exactly one module."""
    importers = [path.name for path in modules() if any(name.startswith("trio_websocket") for name in imported(path))]
    assert importers == ["dialled.py"]


def test_one_door_for_time_and_chance() -> None:
    """Wall clock, randomness and entropy are read in ``environment`` and nowhere else."""
    forbidden = {"time", "random", "secrets", "uuid"}
    readers = [
        str(path.relative_to(PACKAGE))
        for path in modules()
        if path.name != "environment.py" and forbidden & {name.partition(".")[0] for name in imported(path)}
    ]
    assert readers == []


OWN = {"stores/local.py", "testing/observing.py"}
"""Modules whose ``except Exception`` is around code of this package, and raises again or gives back what it caught."""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_barrier(path: Path) -> None:
    """Code that is not ours is called behind a ``Barrier``: ``except Exception`` lets through what ends the program."""
    if path.relative_to(PACKAGE).as_posix() in OWN:
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
    "receipts", "stages", "errors", "limits", "environment",
    "server", "protocol", "runtime", "tree", "aio", "asgi", "agui", "http", "context", "checks", "options",
    "examples", "testing", "tools", "wire", "control",
)  # fmt: skip
"""Folders and modules whose docstrings open as the tests below say."""

CLAUSE = re.compile(r"(What|Whatever|Whether|Who|Whoever|Whom|Whose|Which|Why|How|When|Where)\b")
PERSON = re.compile(r"\b(nobody|somebody|anybody|everybody|whoever|whom|he|him|his)\b", re.IGNORECASE)


def spoken_modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if folder_of(path) in PROSE]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of every docstring, those of attributes included."""
    for node in ast.walk(ast.parse(path.read_text())):
        for one in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            match one:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield one.lineno, text


@pytest.mark.parametrize("path", spoken_modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstrings_open_with_a_noun_or_an_imperative(path: Path) -> None:
    """A first line names the thing or the act: a clause in its place has to be read to its end to know which."""
    clauses = [f"{line}: {text.splitlines()[0]}" for line, text in docstrings(path) if CLAUSE.match(text)]
    assert clauses == []


@pytest.mark.parametrize("path", spoken_modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_conditions_open_with_true(path: Path) -> None:
    """A property that is a bool says of which condition it is true."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "bool":
            text = ast.get_docstring(node)
            is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
            assert not is_property or text is None or text.startswith("True "), f"{node.lineno}: {text}"


@pytest.mark.parametrize("path", spoken_modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_program_is_somebody(path: Path) -> None:
    """An actor, a caller and a socket have names; so has a user, who is not taken for a man."""
    people = [f"{line}: {found[0]}" for line, text in docstrings(path) if (found := PERSON.search(text))]
    assert people == []


TESTS = Path(__file__).parent

TESTED_ELSEWHERE: dict[str, str] = {
    "asgi/host": "tests/asgi/test_trio_host.py and tests/asgi/test_asyncio_host.py: the two that it describes",
    "client/errors": "only errors; tests/client/test_session.py meets each",
    "examples/assistant": "tests/tools/test_demo.py starts it as a reader does, from the command line",
    "testing/agents": "every seed of tests/testing/test_performance.py runs scripted agents",
    "testing/balance_check": "every seed of tests/testing/test_performance.py checks the books, as the mutants prove",
    "testing/link": "tests/testing/test_proxy.py drives links between real sockets",
    "testing/observing": "tests/testing/test_mutants.py: without it no mutant of the emitter is caught",
    "testing/verdict": "tests/testing/test_mutants.py: each mutant contradicts one of its checks",
    "testing/world": "tests/testing/test_scenarios.py opens worlds as applications do",
    "threads/context": "tests/threads/test_answers.py and tests/threads/test_actor.py: each act is noted in one",
    "threads/messages": "only structs; tests/threads/test_actor.py and tests/threads/test_dead_letters.py send each",
    "wire/tls": "tests/wire/test_endpoint.py runs one suite over every kind of endpoint, TLS included",
    "wire/received": "tests/wire/test_engine.py and tests/wire/test_inbound.py: what they come to",
    "wire/dialled": "tests/client: every connection of the client is one",
}
"""Modules that have no test of their name, and the reason."""

TESTS_OF_NO_MODULE: dict[str, str] = {
    "architecture": "the imports and shapes of all modules",
    "readme": "the pages",
    "agui/page": "the page of the folder",
    "agui/vectors": "courses of events, which the mappers of Python and JavaScript are held to",
    "aio/ahead": "back-pressure by devices, from asyncio",
    "aio/full_thread": "the runtime, runs and their text over a store that has no room",
    "aio/page": "the page of the folder",
    "aio/storm": "cancellations at every moment, and the books after them",
    "asgi/page": "the page of the folder",
    "control/readme": "the page of the folder",
    "client/hostile": "servers that lie, for the session and the conversation together",
    "client/page": "the page of the folder",
    "http/page": "the page of the folder",
    "client/server": "the client with the server of this package",
    "client/transcripts": "the protocol's transcripts, played to the client",
    "kernel/page": "the page of the folder",
    "runs/page": "the example of actors/runs/README.md",
    "protocol/page": "the page of the folder",
    "protocol/transcripts": "the protocol's transcripts, played to the server",
    "protocol/vocabulary": "the words of both roles and of the browser's client, compared",
    "server/heads": "a table of requests, and what a proxy may do to them",
    "stores/contract": "stores with a bug, each of which the suite of all stores must find",
    "stores/restart": "a runtime over what an earlier one left in its store",
    "stores/sqlite/copies": "files that somebody put back, or of which a part is gone",
    "stores/trouble": "a runtime of which the store cannot store for a while",
    "testing/mutants": "bugs put into the runtime, each of which the simulation must find",
    "testing/page": "the page of the folder",
}
"""Tests that have no module of their name, and their subject."""


def only_records(path: Path) -> bool:
    """True if a module declares records without methods: they are tested where they are made and read."""
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    marks = [" ".join(map(ast.unparse, (*node.bases, *node.decorator_list))) for node in classes]
    has_code = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))
    return bool(marks) and not has_code and all("attrs." in mark or "Struct" in mark for mark in marks)


def test_a_module_has_a_test_of_its_name() -> None:
    """The test of a module is found by its name, or by a line that says where it is; records alone need none."""
    names = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in modules() if not only_records(path)}
    found = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] != "system"]
    tests = {(path.relative_to(TESTS).parent / path.stem.removeprefix("test_")).as_posix() for path in found}
    assert names - tests == set(TESTED_ELSEWHERE)
    assert tests - names == set(TESTS_OF_NO_MODULE)


def test_modules_without_a_test_of_their_name_are_few() -> None:
    """Each says where it is tested, and the test is there."""
    assert len(TESTED_ELSEWHERE) <= 15
    for name, reason in TESTED_ELSEWHERE.items():
        words = reason.replace(":", " ").replace(",", " ").split()
        named = [TESTS.parent / word for word in words if word.startswith("tests/")]
        assert named, f"{name}: expected the path of a test"
        assert all(path.exists() for path in named), f"{name}: {reason}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_classes_are_small(path: Path) -> None:
    """A class of 25 methods has objects in it that are not found yet. A method that is a docstring alone, as each fact
    that an instrument may take, has none in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            functions = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            methods = [one for one in functions if len(one.body) > 1 or ast.get_docstring(one) is None]
            assert len(methods) < 25, f"{node.name} has {len(methods)} methods"
