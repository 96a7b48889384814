# SPDX-License-Identifier: Apache-2.0
"""The models that engines are compared on, and what goes into them.

Every checkout can make single operations, a few networks and the project's own
small models. Where there is a folder with a generator of other well-known
architectures (--collection), those are made with it, once:
tools/make_models.py NAME --out FOLDER.
"""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy
import onnx

from networks import NETWORKS
from operations import OPERATIONS

# By name: the sizes of free dimensions, 1 where nothing is said.
ARCHITECTURES = {"resnet50": {}, "mobilenet_v2": {}, "unet": {}, "bert": {},
                 "vit_tiny": {}, "gpt2": {}, "gpt2_past": {"past": 512}}
OWN = {"demo_cnn": {}, "mlp": {"batch": 8}}
OPERATION_GROUPS = tuple(dict.fromkeys(
    operation.group for operation in OPERATIONS.values()))


@dataclasses.dataclass
class Model:
    """An ONNX file, its inputs as files, and the types of its outputs.

    The work of a run is its operations and the bytes that it has to read and
    to write, as far as they are known.
    """
    name: str
    path: pathlib.Path
    inputs: pathlib.Path
    output_dtypes: list[numpy.dtype]
    work: dict[str, int]


def random_input(value: onnx.ValueInfoProto, free: dict[str, int],
                 random: numpy.random.Generator) -> numpy.ndarray:
    """Reals in [-1, 1); 0 or 1 of other types, which suits masks and indices.
    """
    tensor = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else
            free.get(d.dim_param, 1) for d in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if numpy.issubdtype(dtype, numpy.floating):
        return random.uniform(-1, 1, dims).astype(dtype)
    return random.integers(0, 2, dims).astype(dtype)


def input_values(graph: onnx.GraphProto, folder: pathlib.Path,
                 free: dict[str, int]) -> dict[str, numpy.ndarray]:
    """The test data beside a model, or random values if there are none."""
    weights = {weight.name for weight in graph.initializer}
    wanted = [value for value in graph.input if value.name not in weights]
    files = [folder / f"test_data_set_0/input_{i}.pb"
             for i in range(len(wanted))]
    if not free and all(file.exists() for file in files):
        return {value.name: onnx.numpy_helper.to_array(onnx.load_tensor(file))
                for value, file in zip(wanted, files)}
    random = numpy.random.default_rng(1)
    return {value.name: random_input(value, free, random) for value in wanted}


def write_inputs(values: dict[str, numpy.ndarray], folder: pathlib.Path
                 ) -> None:
    """Writes the bytes of each input, and inputs.json, which lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for i, (name, value) in enumerate(values.items()):
        numpy.ascontiguousarray(value).tofile(folder / f"{i}.bin")
        listed.append({"name": name, "dtype": value.dtype.name,
                       "dims": value.shape, "file": f"{i}.bin"})
    (folder / "inputs.json").write_text(json.dumps(listed))


def read_inputs(folder: pathlib.Path) -> list[dict]:
    """What write_inputs listed."""
    return json.loads((folder / "inputs.json").read_text())


def least_reads(graph: onnx.GraphProto, values: dict[str, numpy.ndarray]
                ) -> int:
    """Bytes of the inputs, and of the weights that are used as a whole."""
    whole = {name for node in graph.node if node.op_type != "Gather"
             for name in node.input}
    weights = [onnx.numpy_helper.to_array(weight).nbytes
               for weight in graph.initializer if weight.name in whole]
    return sum(weights) + sum(value.nbytes for value in values.values())


def prepare(name: str, path: pathlib.Path, free: dict[str, int],
            work: pathlib.Path) -> Model:
    graph = onnx.load(path).graph
    values = input_values(graph, path.parent, free)
    write_inputs(values, work / name)
    dtypes = [onnx.helper.tensor_dtype_to_np_dtype(
        value.type.tensor_type.elem_type) for value in graph.output]
    return Model(name, path, work / name, dtypes,
                 OPERATIONS[name].work() if name in OPERATIONS
                 else {"read_bytes": least_reads(graph, values)})


class Collection:
    """Finds models by name, or makes them below `folder`."""

    def __init__(self, folder: pathlib.Path, programs: pathlib.Path,
                 generator: pathlib.Path):
        self._folder = folder
        self._programs = programs
        self._generator = generator

    def groups(self) -> dict[str, list[str]]:
        """What is known, by group: kinds of operations, and whole models."""
        known = list(ARCHITECTURES) if self._generator.exists() else []
        return {**{group: [name for name, operation in OPERATIONS.items()
                           if operation.group == group]
                   for group in OPERATION_GROUPS},
                "models": [*known, *NETWORKS, *OWN]}

    def names(self, chosen: Sequence[str] = ()) -> list[str]:
        """The models of groups, names and paths, each once; all if none."""
        groups = self.groups()
        names = [name for choice in chosen or groups
                 for name in groups.get(choice, [choice])]
        return list(dict.fromkeys(names))

    def get(self, name: str, work: pathlib.Path) -> Model:
        """The model of a name, or of the file or the folder of a path."""
        path = pathlib.Path(name)
        if path.is_dir():
            path = path / "model.onnx"
        if path.is_file():
            return prepare(path.parent.name if path.name == "model.onnx"
                           else path.stem, path.resolve(), {}, work)
        if name not in self.names():
            raise SystemExit(f"bench: no model {name!r}; there are the groups "
                             f"{', '.join(self.groups())}, the models "
                             f"{', '.join(self.names())}, and files")
        folder = self._folder / name
        if not (folder / "model.onnx").exists():
            self._make(name, folder)
        return prepare(name, folder / "model.onnx",
                       ARCHITECTURES.get(name, OWN.get(name, {})), work)

    def _make(self, name: str, folder: pathlib.Path) -> None:
        print(f"making {name}", file=sys.stderr)
        # What was interrupted has another name than what is finished.
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if name in OPERATIONS or name in NETWORKS:
            made = (OPERATIONS[name].model() if name in OPERATIONS
                    else NETWORKS[name]())
            onnx.save(made, part / "model.onnx")
        elif name in OWN:
            self._run([self._programs / "quern-make-model", name,
                       part / "model.onnx"])
        else:
            self._run([sys.executable, self._generator, name, "--out", part,
                       "--full-size", "--no-oracle"])
        part.rename(folder)

    def _run(self, command: list) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
