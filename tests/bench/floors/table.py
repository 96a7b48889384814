# SPDX-License-Identifier: Apache-2.0
"""The floors: what the engine has to reach, as data.

Each row measures one quantity (judge.py) on some models, and is as good as the
worst of them. A floor is a share, a ratio, a time or a size; where it is not
the same for all CPUs it is given by class, and a class that is not there has
none. No clock here, and no package beyond Python's own.
"""

import dataclasses
from collections.abc import Mapping, Sequence

# By class of CPU: the f32 multiply-adds of one core, in G operations a second,
# as measured on a quiet machine. A run that sees much less tells nothing.
KNOWN_PEAKS = {"zen4": 117.3, "zen5": 259.0, "intel-amx": 240.0}
LEAST_OF_PEAK = 0.95

# Those whose tails are judged, if they are long enough (judge.MODEL_MS).
LARGE_MODELS = ("resnet50", "efficientnet_b0", "mobilenet_v2", "bert",
                "convnext_t", "vit_tiny", "unet", "gpt2_past")
OPERATIONS = ("gemm", "gemv", "conv", "memory")


@dataclasses.dataclass(frozen=True)
class Row:
    """`models` are names or groups of them; `name` chooses rows."""
    name: str
    quantity: str
    models: Sequence[str]
    floor: float | Mapping[str, float] | None = None

    def floor_for(self, cpu_class: str) -> float | None:
        if isinstance(self.floor, Mapping):
            return self.floor.get(cpu_class)
        return self.floor

    def applies(self, cpu_class: str) -> bool:
        return (not isinstance(self.floor, Mapping)
                or cpu_class in self.floor)


ROWS = (
    Row("gemm", "share of FMA peak", ("gemm_1024",),
        {"zen4": 0.92, "intel-amx": 0.82}),
    Row("gemm", "of the best peer", ("gemm_1024",), {"intel-amx": 1.05}),
    Row("gemm", "share of FMA peak", ("gemm_256", "gemm_512"),
        {"zen4": 0.94}),
    Row("gemm", "of the best peer", ("gemm_256", "gemm_512"), 1.0),
    Row("gemm", "of the best peer", ("gemm_2048",), 1.0),
    Row("gemv", "of the best peer", ("gemv",), 1.0),
    Row("gemv", "share of reading", ("gemv_4096",), 0.85),
    Row("conv", "of the best peer", ("conv",), 0.97),
    Row("resnet50", "of the best peer", ("resnet50",), 1.0),
    Row("mobile", "of the best peer's best", ("mobilenet_v2",
                                              "efficientnet_b0"), 1.0),
    Row("mobile", "cv", ("mobilenet_v2", "efficientnet_b0")),
    Row("bert", "of the best peer", ("bert",), 1.10),
    Row("networks", "of the best peer", ("convnext_t", "vit_tiny", "unet"),
        1.0),
    Row("gpt2", "of the best peer", ("gpt2_past",), 1.15),
    Row("gpt2", "share of reading", ("gpt2_past",), 0.80),
    Row("memory", "share of streaming", ("memory",), 0.85),
    Row("load", "cold load, ms", ("resnet50",), 1500),
    Row("load", "cached load, ms", ("resnet50",), 80),
    Row("load", "graph passes, ms", ("resnet50",), 40),
    Row("kernel_cv", "cv of kernels", (*OPERATIONS, *LARGE_MODELS), 0.02),
    Row("tail", "p99 over median", LARGE_MODELS, 1.10),
    Row("tail", "p99 over median, beside the best peer", LARGE_MODELS),
    Row("statistics", "cost of statistics",
        ("demo_cnn", "mobilenet_v2", "resnet50"), 0.02),
    Row("rss", "memory above weights, MB", ("resnet50",), 120),
)


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows of these names; all if there are none."""
    known = list(dict.fromkeys(row.name for row in ROWS))
    for name in names:
        if name not in known:
            raise ValueError(f"no row {name!r}; there are {', '.join(known)}")
    return [row for row in ROWS if not names or row.name in names]
