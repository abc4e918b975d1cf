"""Compile native/graph.cpp into the server's package, for a wheel and for an editable install.

Whoever has no C++ compiler gets the client, the export and a server that says what it lacks.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("native/graph.cpp")
LIBRARY = Path("server/finesieve_server/index/libgraph.so")

# A later -march in CXXFLAGS takes the place of this one: what is built to run elsewhere needs it.
FLAGS = "-O3 -march=native -std=c++17 -shared -fPIC -fvisibility=hidden -pthread -isystem native"


class GraphBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes the wheel one of this platform, for any Python: the library knows none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        if shutil.which(compiler[0]) is None:
            self.app.display_warning(f"no {compiler[0]}: installed without the server's graph")
            return
        flags = [*shlex.split(FLAGS), *shlex.split(os.environ.get("CXXFLAGS", ""))]
        command = [*compiler, *flags, str(SOURCE), "-o", str(LIBRARY)]
        subprocess.run(command, cwd=self.root, check=True)  # noqa: S603 -- the user's own compiler
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
        build_data["artifacts"].append(str(LIBRARY))
