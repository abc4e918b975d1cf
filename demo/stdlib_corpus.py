"""Read the Python standard library's own documentation as a corpus of passages.

Decides what counts as public, where long docstrings are cut, and the order. Modules in Python are
read by `ast` and never imported; only modules in C, which have no source to read, are imported.
"""

import ast
import importlib
import inspect
import json
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

# Tests, tools, tables, toys and what Python 3.12 dropped: nobody looks here for an answer.
# `posix` is documented as `os`.
LEFT_OUT = frozenset(
    {
        *("antigravity", "distutils", "encodings", "idlelib", "lib2to3", "posix"),
        *("pydoc_data", "test", "tests", "this", "turtledemo"),
    }
)
MAX_PASSAGE_CHARACTERS = 800  # what a bi-encoder can hold in one vector: some 200 tokens
MAX_SIGNATURE_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Entry:
    """One documented thing: a module, a class, a function or a method."""

    name: str  # qualified: "shutil.copytree"
    kind: str
    signature: str  # "(src, dst, symlinks=False)"; empty for modules and classes
    docstring: str


@dataclass(frozen=True, slots=True)
class Row:
    """One passage, with the field names of the contract's Passage."""

    id: str
    title: str
    text: str
    document_id: str
    ordinal: int
    metadata: dict[str, str]


def write_corpus(path: Path) -> int:
    """Write one JSON line per passage and return how many there are."""
    rows = list(read_corpus())
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    return len(rows)


def read_corpus() -> Iterator[Row]:
    """Yield every passage, by module and then in the order of the source."""
    sources = dict(find_python_modules(Path(sysconfig.get_paths()["stdlib"])))
    in_c = {name for name in sys.stdlib_module_names if is_public(name) and is_in_c(name)}
    for module in sorted(sources.keys() | in_c):
        if module in sources:
            entries = read_python_module(module, sources[module].read_bytes())
        else:
            entries = read_c_module(module)
        yield from cut_into_rows(module, entries)


def is_public(name: str) -> bool:
    """Tell whether no part of a dotted name is private or left out."""
    return not any(part.startswith("_") or part in LEFT_OUT for part in name.split("."))


# ------------------------------------------------------------------------------ modules in Python


def find_python_modules(folder: Path, package: str = "") -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the file of every public module below a folder of sources."""
    for path in folder.iterdir():
        name = package + path.stem
        if not is_public(name) or not (package or name in sys.stdlib_module_names):
            continue
        if path.suffix == ".py":
            yield name, path
        elif (path / "__init__.py").is_file():
            yield name, path / "__init__.py"
            yield from find_python_modules(path, f"{name}.")


def read_python_module(module: str, source: bytes) -> Iterator[Entry]:
    """Yield the entries of a module's source, then those it passes on from modules in C."""
    tree = ast.parse(source)
    yield from documented(module, "module", "", ast.get_docstring(tree))
    yield from read_definitions(module, tree.body, "function")
    for statement in unconditional(tree.body):
        match statement:
            case ast.ImportFrom(module=str(origin), level=0) if is_passed_on(origin):
                names = {alias.asname or alias.name for alias in statement.names}
                yield from read_c_members(module, origin, names)


def read_definitions(scope: str, body: Sequence[ast.stmt], function_kind: str) -> Iterator[Entry]:
    """Yield the classes and functions that a body defines, in its order."""
    for node in unconditional(body):
        match node:
            case ast.ClassDef(name=name) if is_public(name):
                yield from documented(f"{scope}.{name}", "class", "", ast.get_docstring(node))
                yield from read_definitions(f"{scope}.{name}", node.body, "method")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if is_public(name):
                docstring = ast.get_docstring(node)
                signature = f"({ast.unparse(node.args)})"
                yield from documented(f"{scope}.{name}", function_kind, signature, docstring)


def unconditional(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield a body's statements as if every branch of `if` and `try` were taken."""
    for statement in body:
        match statement:
            case ast.If():
                yield from unconditional([*statement.body, *statement.orelse])
            case ast.Try():
                yield from unconditional(statement.body)
                for handler in statement.handlers:
                    yield from unconditional(handler.body)
                yield from unconditional([*statement.orelse, *statement.finalbody])
            case _:
                yield statement


# ----------------------------------------------------------------------------------- modules in C


def is_in_c(module: str) -> bool:
    """Tell whether a top-level module of the standard library is here and has no Python source."""
    if module in sys.builtin_module_names:
        return True
    spec = PathFinder.find_spec(module)
    return spec is not None and str(spec.origin).endswith(".so")


def is_passed_on(origin: str) -> bool:
    """Tell whether a module in C is private: its parts are known by their importer's name."""
    private = origin == "posix" or origin.startswith("_")
    return private and origin in sys.stdlib_module_names and is_in_c(origin)


def read_c_module(module: str) -> Iterator[Entry]:
    """Yield the entries of a module in C, which is imported for it."""
    yield from documented(module, "module", "", import_c_module(module).__doc__)
    yield from read_c_members(module, module, {"*"})


def read_c_members(scope: str, module: str, names: set[str]) -> Iterator[Entry]:
    """Yield the named ("*": all) classes and functions of a module in C, under another's name."""
    for name, member in vars(import_c_module(module)).items():
        is_alias = getattr(member, "__name__", "") != name
        if is_alias or not is_public(name) or not ("*" in names or name in names):
            continue
        if inspect.isclass(member):
            yield from documented(f"{scope}.{name}", "class", "", member.__doc__)
            for method_name, method in vars(member).items():
                if is_public(method_name) and inspect.isroutine(method):
                    full_name = f"{scope}.{name}.{method_name}"
                    yield from documented(full_name, "method", signature_of(method), method.__doc__)
        elif inspect.isroutine(member):
            yield from documented(
                f"{scope}.{name}", "function", signature_of(member), member.__doc__
            )


def import_c_module(module: str) -> ModuleType:
    """Import a module that was found to be written in C."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return importlib.import_module(module)


def signature_of(function: object) -> str:
    """Return what C says of its parameters; inspect.signature() would evaluate the defaults."""
    signature: str | None = getattr(function, "__text_signature__", None)
    return signature.replace("$", "") if signature else "(...)"


# --------------------------------------------------------------------------------------- passages


def documented(name: str, kind: str, signature: str, docstring: str | None) -> Iterator[Entry]:
    """Yield the entry if it has anything to say."""
    if docstring and docstring.strip():
        yield Entry(name, kind, signature, inspect.cleandoc(docstring).strip())


def cut_into_rows(module: str, entries: Iterable[Entry]) -> Iterator[Row]:
    """Yield a module's passages; the second definition of one name says nothing new."""
    first_of_its_name: dict[str, Entry] = {}
    for entry in entries:
        first_of_its_name.setdefault(entry.name, entry)
    ordinal = 0
    for entry in first_of_its_name.values():
        for part, text in enumerate(cut(entry.docstring, MAX_PASSAGE_CHARACTERS), start=1):
            yield Row(
                id=entry.name if part == 1 else f"{entry.name}#{part}",
                title=title_of(entry),
                text=text,
                document_id=module,
                ordinal=ordinal,
                metadata={"kind": entry.kind, "module": module, "name": entry.name},
            )
            ordinal += 1


def title_of(entry: Entry) -> str:
    """Return the name with its signature, without the parameter that the caller does not write."""
    signature = re.sub(r"^\((self|cls|type|module)(, /)?(, )?", "(", entry.signature)
    if len(signature) > MAX_SIGNATURE_CHARACTERS:
        signature = f"{signature[:MAX_SIGNATURE_CHARACTERS].rstrip(' ,')}, ...)"
    return entry.name + signature


def cut(text: str, max_characters: int) -> Iterator[str]:
    """Yield pieces of a text, cut between paragraphs; else between lines, words or anywhere."""
    while len(text) > max_characters:
        at = next(
            (at for mark in ("\n\n", "\n", " ") if (at := text.rfind(mark, 1, max_characters)) > 0),
            max_characters,
        )
        yield text[:at].rstrip()
        text = text[at:].lstrip("\n")
    yield text
