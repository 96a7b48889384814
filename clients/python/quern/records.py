# SPDX-License-Identifier: Apache-2.0
"""What a client is told, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from quern._proto import (graph_service_pb2, grpc_service_pb2,
                          kernel_service_pb2, statistics_pb2, subject_pb2)
from quern.dtypes import DType, by_number
from quern.graph import Array, Dim, Shape


@dataclass(frozen=True)
class Model:
    """A model that is served; an empty version means the greatest."""

    name: str
    version: str = ""


@dataclass(frozen=True)
class Settings:
    """How a graph is compiled."""

    device: str = ""
    """For all that names none; empty for the server's first one."""
    strict: bool = False
    """Products and sums are not fused."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Values for free sizes; the others stay free."""

    def message(self) -> subject_pb2.CompileSettings:
        kinds = subject_pb2.CompileSettings
        return kinds(
            device=self.device, sizes=self.sizes,
            numerics=kinds.Numerics.NUMERICS_STRICT if self.strict
            else kinds.Numerics.NUMERICS_UNSPECIFIED)


@dataclass(frozen=True)
class TensorSpec:
    """An input or output; a size that is free is its name or expression."""

    name: str
    dtype: DType
    shape: Shape

    @staticmethod
    def of(message: graph_service_pb2.TensorSpec) -> TensorSpec:
        shape: list[Dim] = [text if dim < 0 else dim for dim, text
                            in zip(message.dims, message.dim_text)]
        return TensorSpec(message.name, by_number(message.data_type),
                          tuple(shape))


@dataclass(frozen=True)
class Graph:
    """A graph that the server has, known by the hash of its content."""

    id: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Load:
    """What a load took and made."""

    total_ms: float
    kernels: int
    compiled: int
    from_memory: int
    from_disk: int
    arena_bytes: int
    weight_bytes: int

    @staticmethod
    def of(message: graph_service_pb2.LoadReport) -> Load:
        return Load(message.total_ms, message.kernels, message.compiled,
                    message.from_memory, message.from_disk,
                    message.arena_bytes, message.weight_bytes)


@dataclass(frozen=True)
class Note:
    """Something the compiler decided that an operator may care about."""

    kind: str
    kernel: str
    text: str


@dataclass(frozen=True)
class Published:
    """The model that a graph became."""

    model: Model
    load: Load
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Result:
    """One run; times are in seconds."""

    outputs: Mapping[str, Array]
    """By name; the arrays cannot be written to."""
    queue_time: float
    execute_time: float
    loaded_now: bool
    load: Load


@dataclass(frozen=True)
class Kernel:
    """A kernel and the times of its launches, in microseconds."""

    label: str
    """What it is loaded for: "NAME/VERSION" or "graph/" and an id."""
    name: str
    device: str
    summary: str
    launches: int
    launches_per_run: int
    at_load: bool
    mean_us: float
    variance_us2: float
    stdev_us: float
    cv: float
    """The standard deviation divided by the mean."""
    median_us: float
    min_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    share: float
    """Of the time of all kernels of a run, from 0 to 1."""
    roofline: float
    """Of what the device could reach, from 0 to 1; 0 if that is not known."""
    flops: float
    bytes: float
    compile_ms: float
    cache: str
    """Where it came from: "compiled", "memory" or "disk"."""
    notes: tuple[str, ...]
    """What the compiler decided about it that an operator may care about."""

    @staticmethod
    def of(label: str, message: statistics_pb2.KernelStatistics) -> Kernel:
        time = message.time_us
        return Kernel(
            label, message.name, message.device, message.summary,
            message.launches, message.launches_per_run, message.at_load,
            time.mean, time.variance, time.stdev, time.cv, time.median,
            time.min, time.p90, time.p99, time.p999, time.max, message.share,
            message.roofline, message.flops, message.bytes, message.compile_ms,
            message.cache, tuple(message.notes))


@dataclass(frozen=True)
class KernelCode:
    """What a kernel is, at each level below the schedule."""

    kernel: Kernel
    loops: str
    source: str
    assembly: str


@dataclass(frozen=True)
class Phase:
    """How long requests were in a phase of theirs."""

    mean_us: float
    variance_us2: float
    cv: float
    p99_us: float

    @staticmethod
    def of(time: statistics_pb2.Latency) -> Phase:
        return Phase(time.mean, time.variance, time.cv, time.p99)


@dataclass(frozen=True)
class Activity:
    """What happened to a graph or a model in some time."""

    label: str
    device: str
    successes: int
    failures: int
    inferences: int
    executions: int
    pending: int
    """Requests accepted and not yet answered, now."""
    request: Phase
    """The whole time of requests that were answered."""
    phases: Mapping[str, Phase]
    """Its parts: "queue", "input", "execute", "output"."""
    kernels: list[Kernel]

    @staticmethod
    def of(message: statistics_pb2.Activity) -> Activity:
        return Activity(
            message.label, message.device, message.successes, message.failures,
            message.inferences, message.executions, message.pending,
            Phase.of(message.request_us),
            {phase.phase: Phase.of(phase.time_us) for phase in message.phases},
            [Kernel.of(message.label, kernel) for kernel in message.kernels])


@dataclass(frozen=True)
class Window:
    """What happened in some seconds."""

    seconds: float
    loaded: list[Activity]

    @staticmethod
    def of(message: kernel_service_pb2.WatchKernelsResponse) -> Window:
        seconds = message.window.seconds + message.window.nanos / 1e9
        return Window(seconds, [Activity.of(a) for a in message.loaded])


@dataclass(frozen=True)
class ModelState:
    """A version of a model as the server knows it."""

    name: str
    version: str
    state: str
    """ "READY", "LOADING" or "UNAVAILABLE"."""
    reason: str
    """Why it is not available, or a later load of it failed."""


@dataclass(frozen=True)
class Description:
    """What a graph or a model is."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    nodes: int
    """Of its graph, those of sizes included."""
    weights: int
    weight_bytes: int
    load: Optional[Load]
    """What its load took; None if it is not loaded with these settings."""
    device: str
    notes: tuple[Note, ...]
    """What the compiler decided; like the device, of what is loaded."""

    @staticmethod
    def of(message: graph_service_pb2.DescribeResponse) -> Description:
        return Description(
            tuple(TensorSpec.of(spec) for spec in message.inputs),
            tuple(TensorSpec.of(spec) for spec in message.outputs),
            message.nodes, message.weights, message.weight_bytes,
            Load.of(message.load) if message.loaded else None, message.device,
            tuple(Note(n.kind, n.kernel, n.text) for n in message.notes))


@dataclass(frozen=True)
class Device:
    """A device of the server."""

    name: str
    available: bool
    reason: str
    """Why it cannot be used."""
    threads: int
    backend: str
    isa: str
    vector_bytes: int
    peak_flops: float
    read_bandwidth: float


@dataclass(frozen=True)
class Duration:
    """How often something happened and how long it took in all."""

    count: int
    ns: int

    @property
    def mean_us(self) -> float:
        return self.ns / self.count / 1000 if self.count else 0.0


@dataclass(frozen=True)
class ModelStatistics:
    """Counters of one version of a model since it was loaded."""

    model: Model
    last_inference_ms: int
    """When the last request came, in milliseconds since 1970."""
    inferences: int
    """Each element of a batch counts."""
    executions: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration

    @staticmethod
    def of(message: grpc_service_pb2.ModelStatistics) -> ModelStatistics:
        def duration(name: str) -> Duration:
            part: Any = getattr(message.inference_stats, name)
            return Duration(part.count, part.ns)

        return ModelStatistics(
            Model(message.name, message.version), message.last_inference,
            message.inference_count, message.execution_count,
            *(duration(name) for name in (
                "success", "fail", "queue", "compute_input", "compute_infer",
                "compute_output")))
