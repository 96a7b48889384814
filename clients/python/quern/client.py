# SPDX-License-Identifier: Apache-2.0
"""A client of one server: graphs, models, and what the server tells of them."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, TypeVar, Union

import grpc
import numpy as np
import numpy.typing as npt

from quern import rpc, shapes
from quern._proto import graph_service_pb2 as wire
from quern._proto import grpc_service_pb2 as v2
from quern._proto import kernel_service_pb2, subject_pb2, tensor_pb2
from quern.dtypes import DType, as_dtype, by_v2
from quern.errors import Error
from quern.graph import (Array, BuiltGraph, Expression, Spec, build,
                         little_endian, to_array, to_wire)
from quern.records import (Description, Device, Graph, Kernel, KernelCode,
                           Load, Model, ModelState, ModelStatistics, Note,
                           Published, Result, Settings, TensorSpec, Window)

Outputs = Union[Expression, Sequence[Expression], Mapping[str, Expression]]
"""What a graph gives: by name, or in order as "output0", "output1", .."""
Onnx = Union[bytes, "os.PathLike[str]"]
"""An ONNX file: its content, or its path as a pathlib.Path."""
Source = Union[Outputs, Onnx, Graph]
"""What can be submitted or was."""
Subject = Union[Source, Model, str]
"""A source, or a model that is served: by name, or a Model."""

DEFAULT_ADDRESS = "127.0.0.1:8001"
STAGES = ("graph", "schedule", "kernel", "source", "asm", "notes")

_CHUNK_BYTES = 1 << 20
# Content up to this size is sent without asking whether it is needed.
_SMALL_BYTES = 1 << 16
_KEPT_GRAPHS = 1024

_T = TypeVar("_T")


class Client:
    """Speaks to one server. Any thread may use it; `with` closes it.

    `address` is HOST:PORT or unix:PATH; without one, it is the environment's
    QUERN_SERVER, or 127.0.0.1:8001. `token` is sent with every call as
    "authorization: Bearer TOKEN". A root certificate, or `tls`, encrypts; a
    certificate with its key tells the server who calls. `timeout` in seconds
    holds for every call that names no other; None waits for ever.

    Nothing is sent before the first call. Methods raise quern.Error with the
    server's status: UNAVAILABLE if it cannot be reached, DEADLINE_EXCEEDED
    after `timeout`.
    """

    def __init__(self, address: Optional[str] = None, *,
                 token: Optional[str] = None, tls: bool = False,
                 root_certificates: Optional[rpc.Pem] = None,
                 client_certificate: Optional[rpc.Pem] = None,
                 client_key: Optional[rpc.Pem] = None,
                 timeout: Optional[float] = 300.0) -> None:
        self.address = (address or os.environ.get("QUERN_SERVER")
                        or DEFAULT_ADDRESS)
        self.timeout = timeout
        self._channel = rpc.Channel(
            self.address, token=token, tls=tls,
            root_certificates=root_certificates,
            client_certificate=client_certificate, client_key=client_key)
        self._mutex = threading.Lock()
        self._graphs: OrderedDict[bytes, Graph] = OrderedDict()
        self._contents: set[bytes] = set()  # Weights that the server has.

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; calls in flight end with CANCELLED."""
        self._channel.close()

    # The server.

    def live(self, timeout: Optional[float] = None) -> bool:
        """Whether the server answers; False if it cannot be reached."""
        return self._is("ServerLive", v2.ServerLiveRequest(), "live", timeout)

    def ready(self, timeout: Optional[float] = None) -> bool:
        """Whether the server can take requests."""
        return self._is("ServerReady", v2.ServerReadyRequest(), "ready",
                        timeout)

    def devices(self, timeout: Optional[float] = None) -> list[Device]:
        """The devices, the default one first."""
        answer: wire.ListDevicesResponse = self._call(
            rpc.GRAPHS, "ListDevices", wire.ListDevicesRequest(), timeout)
        return [Device(d.name, d.available, d.reason, d.threads, d.backend,
                       d.isa, d.vector_bytes, d.peak_flops, d.read_bandwidth)
                for d in answer.devices]

    # Graphs.

    def submit(self, source: Source,
               fixed_inputs: Optional[Mapping[str, npt.ArrayLike]] = None,
               timeout: Optional[float] = None) -> Graph:
        """Hands in a graph, unless the server has it; compiles nothing.

        `fixed_inputs` are inputs of an ONNX file that become constants, where
        shapes depend on what they hold. Weights travel before the graph, each
        once for all graphs.
        """
        if isinstance(source, Graph):
            return source
        if isinstance(source, (bytes, os.PathLike)):
            content = (source if isinstance(source, bytes)
                       else pathlib.Path(source).read_bytes())
            fixed = [wire_tensor(name, np.asarray(value)) for name, value
                     in (fixed_inputs or {}).items()]
            header = wire.SubmitHeader(
                format=wire.CONTENT_FORMAT_ONNX, fixed_inputs=fixed)
            return self._graph_of(self._submit(header, content, timeout))
        if fixed_inputs:
            raise ValueError("expected fixed inputs with an ONNX file only")
        return self._submit_built(build(_named(source)), timeout)

    def execute(self, subject: Subject,
                inputs: Optional[Mapping[str, npt.ArrayLike]] = None, *,
                outputs: Sequence[str] = (),
                settings: Optional[Settings] = None,
                timeout: Optional[float] = None) -> Result:
        """Runs a graph, an ONNX file or a model once; loads it if need be.

        `inputs` are those that expressions left open by quern.placeholder, or
        all inputs of a file or a model. `outputs` names those wanted; none
        means all. Raises ValueError or TypeError for an input that is missing,
        unknown, or of another shape or type than the placeholder's.
        """
        feeds: dict[str, tensor_pb2.Tensor] = {}
        built = None
        if not isinstance(subject, (Graph, Model, str, bytes, os.PathLike)):
            built = build(_named(subject))
            feeds = {name: to_wire(array)
                     for name, array in built.feeds.items()}
            feeds.update(_checked(built.placeholders, inputs or {}))
        else:
            feeds = {name: to_wire(np.asarray(value))
                     for name, value in (inputs or {}).items()}

        def run() -> Result:
            request = wire.ExecuteRequest(
                subject=self._subject(built or subject, settings, timeout),
                outputs=outputs)
            for name, tensor in feeds.items():
                request.inputs.add(name=name, tensor=tensor)
            result: wire.ExecuteResult = self._last(
                "Execute", request, "result", timeout)
            return Result(
                {o.name: to_array(o.tensor) for o in result.outputs},
                _seconds(result.queue_time), _seconds(result.execute_time),
                result.loaded_now, Load.of(result.load))

        return self._with_content(run)

    def evaluate(self, outputs: Sequence[Expression],
                 settings: Optional[Settings] = None,
                 timeout: Optional[float] = None) -> list[Array]:
        """The values of expressions, in order, computed as one graph."""
        result = self.execute(outputs, settings=settings, timeout=timeout)
        arrays = []
        for (name, array), output in zip(result.outputs.items(), outputs):
            value = output.value
            dtype = value.dtype.strong
            if array.shape != value.shape or array.dtype != dtype.numpy:
                raise Error(
                    grpc.StatusCode.INTERNAL,
                    f"{name}: expected {dtype}{shapes.text(value.shape)}, got "
                    f"{array.dtype}{list(array.shape)}: this client and the "
                    "server differ in a rule")
            arrays.append(array)
        return arrays

    def explain(self, subject: Subject, stage: str = "graph",
                kernel: str = "", settings: Optional[Settings] = None,
                timeout: Optional[float] = None) -> str:
        """What the compiler made, as text, at one of quern.STAGES."""
        if stage not in STAGES:
            raise ValueError(f"expected a stage of {', '.join(STAGES)}, got "
                             f"{stage!r}")

        def explain() -> str:
            text: str = self._last("Explain", wire.ExplainRequest(
                subject=self._subject(subject, settings, timeout),
                stage=f"EXPLAIN_STAGE_{stage.upper()}", kernel=kernel), "text", timeout)
            return text

        return self._with_content(explain)

    def describe(self, subject: Subject,
                 settings: Optional[Settings] = None,
                 timeout: Optional[float] = None) -> Description:
        """What a graph, an ONNX file or a model takes, gives and is made of."""
        def describe() -> Description:
            answer: wire.DescribeResponse = self._call(
                rpc.GRAPHS, "Describe", wire.DescribeRequest(
                    subject=self._subject(subject, settings, timeout)), timeout)
            return Description.of(answer)

        return self._with_content(describe)

    # Kernels.

    def kernels(self, subject: Optional[Subject] = None,
                settings: Optional[Settings] = None, *,
                in_window: bool = False,
                timeout: Optional[float] = None) -> list[Kernel]:
        """The kernels of what is loaded, with the times of their launches.

        Those of one graph or model, or of all. Those that take the most time
        come first. They count from the load, or `in_window` from the last
        reset_window(). FAILED_PRECONDITION if a graph is not loaded with these
        settings.
        """
        def kernels() -> list[Kernel]:
            request = kernel_service_pb2.ListKernelsRequest(
                in_window=in_window)
            if subject is not None:
                request.subject.CopyFrom(
                    self._subject(subject, settings, timeout))
            answer: kernel_service_pb2.ListKernelsResponse = self._call(
                rpc.KERNELS, "ListKernels", request, timeout)
            return [Kernel.of(loaded.label, kernel)
                    for loaded in answer.loaded for kernel in loaded.kernels]

        return self._with_content(kernels)

    def kernel_code(self, subject: Subject, kernel: str,
                    settings: Optional[Settings] = None,
                    timeout: Optional[float] = None) -> KernelCode:
        """The code of one kernel of a graph or model that is loaded."""
        def code() -> KernelCode:
            answer: kernel_service_pb2.GetKernelResponse = self._call(
                rpc.KERNELS, "GetKernel",
                kernel_service_pb2.GetKernelRequest(
                    subject=self._subject(subject, settings, timeout),
                    kernel=kernel), timeout)
            return KernelCode(Kernel.of(answer.label, answer.statistics),
                              answer.loops, answer.source, answer.assembly)

        return self._with_content(code)

    def watch_kernels(self, subject: Optional[Subject] = None,
                      settings: Optional[Settings] = None, *,
                      period: float = 1.0) -> Iterator[Window]:
        """What happened in each `period` of 0.1 to 3600 seconds from now on.

        Goes on until it is closed, by leaving the loop over it, or the server
        ends. Who reads slower gets fewer windows, each about more time.
        """
        request = kernel_service_pb2.WatchKernelsRequest()
        request.period.FromNanoseconds(round(period * 1e9))
        if subject is not None:
            request.subject.CopyFrom(self._subject(subject, settings, None))
        for window in self._channel.stream(rpc.KERNELS, "WatchKernels",
                                           request, None):
            yield Window.of(window)

    def reset_window(self, timeout: Optional[float] = None) -> None:
        """Begins the server's window of statistics anew, for all clients."""
        self._call(rpc.KERNELS, "ResetWindow",
                   kernel_service_pb2.ResetWindowRequest(), timeout)

    # Models.

    def publish(self, name: str, source: Union[Source, str],
                version: str = "", *, settings: Optional[Settings] = None,
                fixed_inputs: Optional[Mapping[str, npt.ArrayLike]] = None,
                timeout: Optional[float] = None) -> Published:
        """Serves a graph as a version of the model `name`.

        `source` is an expression or several, a Graph, or an ONNX file: bytes
        or a path. Placeholders and tensors made from arrays become the model's
        inputs. An empty version means one more than the greatest; a version
        that is served already is replaced when the new one is ready.
        """
        if isinstance(source, str):
            source = pathlib.Path(source)

        def publish() -> Published:
            graph = self.submit(source, fixed_inputs, timeout)
            result: wire.PublishResult = self._last(
                "Publish", wire.PublishRequest(
                    graph_id=graph.id,
                    model=subject_pb2.ModelName(name=name, version=version),
                    settings=(settings or Settings()).message()),
                "result", timeout)
            return Published(
                Model(result.model.name, result.model.version),
                Load.of(result.load),
                tuple(Note(n.kind, n.kernel, n.text) for n in result.notes))

        return self._with_content(publish)

    def unpublish(self, name: str, version: str,
                  timeout: Optional[float] = None) -> None:
        """Ends the service of a version; requests in flight end normally."""
        self._call(rpc.GRAPHS, "Unpublish", wire.UnpublishRequest(
            model=subject_pb2.ModelName(name=name, version=version)), timeout)

    def load(self, name: str, source: Optional[Onnx] = None, *,
             version: int = 1, settings: Optional[Mapping[str, str]] = None,
             timeout: Optional[float] = None) -> None:
        """Loads or reloads a model of the server's repository.

        With `source`, an ONNX file, it is that file as `version`; the
        repository stays as it is. `settings` are those that a config.pbtxt has
        as its parameters. A load that fails leaves what served serving.
        FAILED_PRECONDITION if the models follow the files of the repository.
        """
        request = v2.RepositoryModelLoadRequest(model_name=name)
        if source is not None:
            content = (source if isinstance(source, bytes)
                       else pathlib.Path(source).read_bytes())
            request.parameters[
                f"file:{version}/model.onnx"].bytes_param = content
        if source is not None or settings:
            config = {"parameters": {key: {"string_value": value} for key, value
                                     in (settings or {}).items()}}
            request.parameters["config"].string_param = json.dumps(config)
        self._call(rpc.V2, "RepositoryModelLoad", request, timeout)

    def unload(self, name: str, timeout: Optional[float] = None) -> None:
        """Ends the service of all versions of a model that was loaded.

        Requests in flight end normally.
        """
        self._call(rpc.V2, "RepositoryModelUnload",
                   v2.RepositoryModelUnloadRequest(model_name=name), timeout)

    def models(self, timeout: Optional[float] = None) -> list[ModelState]:
        """The models that the server knows, and what became of them."""
        answer: v2.RepositoryIndexResponse = self._call(
            rpc.V2, "RepositoryIndex", v2.RepositoryIndexRequest(), timeout)
        return [ModelState(m.name, m.version, m.state, m.reason)
                for m in answer.models]

    def infer(self, name: str, inputs: Mapping[str, npt.ArrayLike], *,
              version: str = "", outputs: Sequence[str] = (),
              timeout: Optional[float] = None) -> dict[str, Array]:
        """Runs a model by the V2 protocol; its outputs by name.

        Arrays are sent in the types they have: a model of f32 takes np.float32.
        bf16 is ml_dtypes.bfloat16 where that is installed; otherwise outputs
        of bf16 are their bits in uint16. Raises TypeError for arrays of other
        types.
        """
        request = v2.ModelInferRequest(model_name=name, model_version=version)
        for key, value in inputs.items():
            array = np.asarray(value)
            request.inputs.add(name=key, datatype=as_dtype(array.dtype).v2,
                               shape=array.shape)
            request.raw_input_contents.append(little_endian(array).tobytes())
        for key in outputs:
            request.outputs.add(name=key)
        answer: v2.ModelInferResponse = self._call(
            rpc.V2, "ModelInfer", request, timeout)
        return {output.name: _from_raw(output.datatype, output.shape, raw)
                for output, raw in zip(answer.outputs,
                                       answer.raw_output_contents)}

    def model_ready(self, name: str, version: str = "",
                    timeout: Optional[float] = None) -> bool:
        """Whether a model can take requests."""
        return self._is("ModelReady", v2.ModelReadyRequest(
            name=name, version=version), "ready", timeout)

    def stats(self, name: str = "", version: str = "",
              timeout: Optional[float] = None) -> list[ModelStatistics]:
        """Counters of a model's versions, or of all models.

        UNIMPLEMENTED if the server does not keep them.
        """
        try:
            answer: v2.ModelStatisticsResponse = self._call(
                rpc.V2, "ModelStatistics",
                v2.ModelStatisticsRequest(name=name, version=version), timeout)
        except Error as error:
            if error.code is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            raise Error(error.code, f"the server at {self.address} keeps no "
                        f"statistics of models: {error.message}") from None
        return [ModelStatistics.of(entry) for entry in answer.model_stats]

    # Calls.

    def _call(self, service: str, method: str, request: Any,
              timeout: Optional[float]) -> Any:
        return self._channel.call(service, method, request,
                                  self._timeout(timeout))

    def _last(self, method: str, request: Any, field: str,
              timeout: Optional[float]) -> Any:
        """The end of a stream of progress: the field of its last message."""
        found = None
        for answer in self._channel.stream(rpc.GRAPHS, method, request,
                                           self._timeout(timeout)):
            if answer.HasField(field):
                found = getattr(answer, field)
        if found is None:
            raise Error(grpc.StatusCode.INTERNAL,
                        f"{method} ended without a {field}")
        return found

    def _timeout(self, timeout: Optional[float]) -> Optional[float]:
        return self.timeout if timeout is None else timeout

    def _is(self, method: str, request: Any, field: str,
            timeout: Optional[float]) -> bool:
        try:
            answer = self._call(rpc.V2, method, request, timeout)
        except Error as error:
            if error.code in (grpc.StatusCode.UNAVAILABLE,
                              grpc.StatusCode.NOT_FOUND):
                return False
            raise
        return bool(getattr(answer, field))

    # Content.

    def _with_content(self, run: Callable[[], _T]) -> _T:
        """Runs; once more, with all content sent anew, if the server lost it.

        A server forgets when it restarts, or when it keeps too much.
        """
        with self._mutex:
            knows = bool(self._graphs or self._contents)
        try:
            return run()
        except Error as error:
            if not knows or error.code is not grpc.StatusCode.NOT_FOUND:
                raise
        with self._mutex:
            self._graphs.clear()
            self._contents.clear()
        return run()

    def _subject(self, subject: Union[Subject, BuiltGraph],
                 settings: Optional[Settings],
                 timeout: Optional[float]) -> subject_pb2.Subject:
        if isinstance(subject, str):
            subject = Model(subject)
        if isinstance(subject, Model):
            return subject_pb2.Subject(model=subject_pb2.ModelName(
                name=subject.name, version=subject.version))
        graph = (self._submit_built(subject, timeout)
                 if isinstance(subject, BuiltGraph)
                 else self.submit(subject, timeout=timeout))
        return subject_pb2.Subject(graph_id=graph.id,
                            settings=(settings or Settings()).message())

    def _submit_built(self, built: BuiltGraph,
                      timeout: Optional[float]) -> Graph:
        with self._mutex:
            known = self._graphs.get(built.sha256)
            if known is not None:
                self._graphs.move_to_end(built.sha256)
                return known
        for weight in built.weights:
            with self._mutex:
                if weight.sha256 in self._contents:
                    continue
            self._submit(wire.SubmitHeader(format=wire.CONTENT_FORMAT_WEIGHT),
                         weight.content, timeout)
            with self._mutex:
                self._contents.add(weight.sha256)
        graph = self._graph_of(self._submit(
            wire.SubmitHeader(format=wire.CONTENT_FORMAT_GRAPH),
            built.content, timeout))
        with self._mutex:
            self._graphs[built.sha256] = graph
            if len(self._graphs) > _KEPT_GRAPHS:
                self._graphs.popitem(last=False)
        return graph

    def _submit(self, header: wire.SubmitHeader, content: bytes,
                timeout: Optional[float]) -> wire.SubmitResponse:
        header.sha256 = hashlib.sha256(content).digest()
        header.size_bytes = len(content)

        def messages(send: bool) -> Iterator[wire.SubmitRequest]:
            yield wire.SubmitRequest(header=header)
            if send:
                for chunk in rpc.chunks(content, _CHUNK_BYTES):
                    yield wire.SubmitRequest(chunk=chunk)

        send = len(content) <= _SMALL_BYTES
        answer: wire.SubmitResponse = self._call(
            rpc.GRAPHS, "Submit", messages(send), timeout)
        if answer.content_needed:
            answer = self._call(rpc.GRAPHS, "Submit", messages(True), timeout)
        return answer

    @staticmethod
    def _graph_of(answer: wire.SubmitResponse) -> Graph:
        return Graph(answer.graph_id,
                     tuple(TensorSpec.of(spec) for spec in answer.inputs),
                     tuple(TensorSpec.of(spec) for spec in answer.outputs))


def wire_tensor(name: str, array: Array) -> tensor_pb2.NamedTensor:
    return tensor_pb2.NamedTensor(name=name, tensor=to_wire(array))


def _named(outputs: Outputs) -> Mapping[str, Expression]:
    if isinstance(outputs, Expression):
        return {"output0": outputs}
    if isinstance(outputs, Mapping):
        return outputs
    if not all(isinstance(output, Expression) for output in outputs):
        raise TypeError("expected tensors, a model's name, a Graph, or an ONNX "
                        f"file as bytes or pathlib.Path, got {outputs!r}")
    return {f"output{i}": output for i, output in enumerate(outputs)}


def _checked(placeholders: Mapping[str, Spec],
             inputs: Mapping[str, npt.ArrayLike]
             ) -> dict[str, tensor_pb2.Tensor]:
    """The inputs that placeholders want, as they want them."""
    if set(placeholders) != set(inputs):
        raise ValueError(f"expected the inputs {sorted(placeholders)}, got "
                         f"{sorted(inputs)}")
    feeds = {}
    for name, spec in placeholders.items():
        array = inputs[name]
        if not isinstance(array, np.ndarray):
            array = np.asarray(array, spec.dtype.numpy)
        if array.dtype != spec.dtype.numpy:
            raise TypeError(f"input {name!r}: expected {spec.dtype}, got "
                            f"{array.dtype}")
        shapes.same([None if isinstance(dim, str) else dim
                     for dim in spec.shape], array.shape, f"input {name!r}")
        feeds[name] = to_wire(array, spec.dtype)
    return feeds


def _from_raw(datatype: str, shape: Sequence[int], raw: bytes) -> Array:
    try:
        dtype: DType = by_v2(datatype)
    except KeyError:
        raise Error(grpc.StatusCode.UNIMPLEMENTED, "this client has no type "
                    f"for the datatype {datatype}") from None
    return np.frombuffer(raw, dtype.numpy).reshape(tuple(shape))


def _seconds(duration: Any) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9


_default: Optional[Client] = None
_default_mutex = threading.Lock()


def default_client() -> Client:
    """The client that tensors use when none is named; made when first used."""
    global _default
    with _default_mutex:
        if _default is None:
            _default = Client()
        return _default


def set_default_client(client: Optional[Client]) -> None:
    """Makes `client` the default one; None for a new one at the next use."""
    global _default
    with _default_mutex:
        _default = client
