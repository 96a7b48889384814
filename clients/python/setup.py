# SPDX-License-Identifier: Apache-2.0
"""Builds the package `quern`: generates the protobuf modules.

protoc's own Python modules register their messages in the one pool of the
process, under the names that the wire gives them. tritonclient registers its
own "inference.ModelInferRequest" there, and the second to come fails. So the
modules written here hold nothing but a serialized descriptor, which
quern._proto loads into a pool of the package's own. The types beside them are
those that protoc writes.
"""

import pathlib
import re
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = (
    "proto/inference/grpc_service.proto",
    "proto/inference/model_config.proto",
    "proto/quern/v1/graph.proto",
    "proto/quern/v1/graph_service.proto",
    "proto/quern/v1/kernel_service.proto",
    "proto/quern/v1/statistics.proto",
    "proto/quern/v1/subject.proto",
    "proto/quern/v1/tensor.proto",
)
MODULE = '''# SPDX-License-Identifier: Apache-2.0
"""{name}: generated when the package is built."""
from quern import _proto
{imports}
DESCRIPTOR = _proto.load({content!r}, globals())
'''


def proto_root() -> pathlib.Path:
    """The folder that holds proto/: the checkout, or an unpacked sdist."""
    for root in (HERE, HERE.parent.parent):
        if all((root / name).is_file() for name in PROTOS):
            return root
    raise SystemExit(f"expected {PROTOS[0]} in {HERE} or {HERE.parent.parent}; "
                     "install from a checkout of Quern")


def module_name(proto: str) -> str:
    return pathlib.PurePath(proto).stem + "_pb2"


def in_package(text: str) -> str:
    """Generated types that import their neighbours from the package.

    protoc writes mappings without their types, which strict checkers refuse.
    """
    text = re.sub(r"\b_Mapping(?=[\],])", "_Mapping[str, object]", text)
    return re.sub(r"\bfrom proto\.(?:inference|quern\.v1) import ",
                  "from quern._proto import ", text)


def generate(folder: pathlib.Path) -> None:
    """Writes the modules and their types into `folder`."""
    # Only there while building.
    import grpc_tools
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        descriptors = pathlib.Path(work) / "descriptors"
        status = protoc.main(["protoc", f"-I{proto_root()}", f"-I{known}",
                              f"--descriptor_set_out={descriptors}",
                              f"--pyi_out={work}", *PROTOS])
        if status != 0:
            raise SystemExit(f"protoc ended with {status}")
        for path in sorted(pathlib.Path(work).rglob("*.pyi")):
            (folder / path.name).write_text(in_package(path.read_text()))
        files = descriptor_pb2.FileDescriptorSet.FromString(
            descriptors.read_bytes()).file
    for file in files:
        imports = "".join(f"from quern._proto import {module_name(name)}\n"
                          for name in file.dependency if name in PROTOS)
        (folder / f"{module_name(file.name)}.py").write_text(MODULE.format(
            name=file.name, imports=imports,
            content=file.SerializeToString(deterministic=True)))


class BuildWithStubs(build_py):
    """Puts the generated modules beside the others, never into git."""

    def run(self) -> None:
        super().run()
        base = HERE if self.editable_mode else pathlib.Path(self.build_lib)
        generate(base / "quern" / "_proto")


class SourceWithProtos(sdist):
    """An sdist has no checkout around it, so it takes the protos along."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        for name in PROTOS:
            target = pathlib.Path(base_dir) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(proto_root() / name, target)


setup(cmdclass={"build_py": BuildWithStubs, "sdist": SourceWithProtos})
