# SPDX-License-Identifier: Apache-2.0
"""The models that engines are compared on, and what goes into them.

Every checkout can make the project's own small ones. Where there is a folder
with a generator of well-known architectures (--collection), those are made with
it, once: tools/make_models.py NAME --out FOLDER.
"""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import numpy
import onnx

# By name: the sizes of free dimensions, 1 where nothing is said.
ARCHITECTURES = {"resnet50": {}, "mobilenet_v2": {}, "unet": {}, "bert": {},
                 "vit_tiny": {}, "gpt2": {}, "gpt2_past": {"past": 512}}
OWN = {"demo_cnn": {}, "mlp": {"batch": 8}}


@dataclasses.dataclass
class Model:
    """An ONNX file, its inputs as files, and the types of its outputs."""
    name: str
    path: pathlib.Path
    inputs: pathlib.Path
    output_dtypes: list[numpy.dtype]


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


def prepare(name: str, path: pathlib.Path, free: dict[str, int],
            work: pathlib.Path) -> Model:
    graph = onnx.load(path).graph
    write_inputs(input_values(graph, path.parent, free), work / name)
    dtypes = [onnx.helper.tensor_dtype_to_np_dtype(
        value.type.tensor_type.elem_type) for value in graph.output]
    return Model(name, path, work / name, dtypes)


class Collection:
    """Finds models by name, or makes them below `folder`."""

    def __init__(self, folder: pathlib.Path, programs: pathlib.Path,
                 generator: pathlib.Path):
        self._folder = folder
        self._programs = programs
        self._generator = generator

    def names(self) -> list[str]:
        """What is compared if nothing is asked for."""
        known = list(ARCHITECTURES) if self._generator.exists() else []
        return known + list(OWN)

    def get(self, name: str, work: pathlib.Path) -> Model:
        """The model of a name, or of the file or the folder of a path."""
        path = pathlib.Path(name)
        if path.is_dir():
            path = path / "model.onnx"
        if path.is_file():
            return prepare(path.parent.name if path.name == "model.onnx"
                           else path.stem, path.resolve(), {}, work)
        if name not in self.names():
            raise SystemExit(f"bench peers: no model {name!r}; there are "
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
        if name in OWN:
            command = [self._programs / "quern-make-model", name,
                       part / "model.onnx"]
        else:
            command = [sys.executable, self._generator, name, "--out", part,
                       "--full-size", "--no-oracle"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        part.rename(folder)
