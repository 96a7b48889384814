# SPDX-License-Identifier: Apache-2.0
"""What the quantities of the floors are, and whether a run reaches them.

A quantity makes cases of what was measured: one for each model or kernel. Its
verdict is that of the worst: PASS, BELOW, SKIP if there is nothing to judge,
or WRONG if a share of what a machine can do is above 1, for then one of both
was measured wrongly.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

import table

PASS, BELOW, WRONG, SKIP = "PASS", "BELOW", "WRONG", "SKIP"
# Kernels and models that are shorter say more about the clock.
KERNEL_US, MODEL_MS = 100, 5


@dataclasses.dataclass(frozen=True)
class Case:
    """A value with its own floor: of a model, or of a kernel in it."""
    name: str
    value: float
    floor: float
    peer: str = ""
    spread: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Quantity:
    """How cases are made of a model's figures and the row's floor.

    `at_most`: the floor is a ceiling. `yardstick`: it is a share of what a
    machine can do, which the yardstick of this kind tells for a model's work.
    `beside`: a peer is needed. `probe`: the figures are those of a probe of
    this name.
    """
    cases: Callable[[dict, float | None], Sequence[Case]]
    at_most: bool = False
    yardstick: Callable[[dict], str] | None = None
    beside: bool = False
    probe: str = ""

    def missing(self, model: dict) -> str:
        """Why the figures make no case; empty if they do."""
        if self.probe:
            return ""
        if "error" in ours(model):
            return f"{model['name']}: {ours(model)['error'].splitlines()[0]}"
        if self.beside and not model["best_peer"]:
            return f"{model['name']}: no peer ran it"
        return ""


@dataclasses.dataclass(frozen=True)
class Line:
    """A row with the worst of its cases."""
    row: table.Row
    verdict: str
    worst: Case | None
    cases: Sequence[Case]
    reason: str = ""


def ours(model: dict) -> dict:
    return model["engines"]["quern"]


def peer(model: dict) -> dict:
    return model["engines"][model["best_peer"]]


def of_best_peer(model: dict, floor: float) -> list[Case]:
    ratio = model["ratios"][model["best_peer"]]
    return [Case(model["name"], ratio["median"], floor, model["best_peer"],
                 (ratio["min"], ratio["max"]))]


def of_best_peers_best(model: dict, floor: float) -> list[Case]:
    """The median of the peer's fastest round over ours of each: a peer that is
    sometimes twice as slow has to be met where it is not."""
    best = min(peer(model)["round_medians"])
    each = [best / median for median in ours(model)["round_medians"]]
    return [Case(model["name"], statistics.median(each), floor,
                 model["best_peer"], (min(each), max(each)))]


def cv_below_peers(model: dict, _: float | None) -> list[Case]:
    return [Case(model["name"], ours(model)["cv"], peer(model)["cv"],
                 model["best_peer"])]


def flops(_: dict) -> str:
    return "flops"


def read(_: dict) -> str:
    return "read"


def stream(work: dict) -> str:
    """As much is read as is written, or twice as much."""
    return ("add" if work["read_bytes"] > 1.5 * work["written_bytes"]
            else "copy")


def share(yardstick: Callable[[dict], str], parts: Sequence[str]) -> Quantity:
    """Our rate of these parts of the work over the yardstick's, by round."""
    def cases(model: dict, floor: float) -> list[Case]:
        work = model["work"]
        done = sum(work[part] for part in parts)
        rates = model["yardsticks"][yardstick(work)]["round_rates"]
        each = [done / (median * 1e6) / rate for median, rate in
                zip(ours(model)["round_medians"], rates, strict=True)]
        return [Case(model["name"], statistics.median(each), floor, "",
                     (min(each), max(each)))]
    return Quantity(cases, yardstick=yardstick)


def cv_of_kernels(model: dict, floor: float) -> list[Case]:
    limit = max(floor, 1.2 * model["calibration"]["trimmed_cv"])
    return [Case(f"{model['name']}/{kernel['name']}", kernel["trimmed_cv"],
                 limit) for kernel in model["kernels"]
            if kernel["median_us"] >= KERNEL_US]


def tail(figures: dict) -> float:
    return figures["p99"] / figures["median"]


def tail_beside_loop(model: dict, floor: float) -> list[Case]:
    if ours(model)["median"] < MODEL_MS:
        return []
    return [Case(model["name"], tail(ours(model)),
                 max(floor, 1.05 * tail(model["calibration"])))]


def tail_beside_peer(model: dict, _: float | None) -> list[Case]:
    if ours(model)["median"] < MODEL_MS:
        return []
    return [Case(model["name"], tail(ours(model)), tail(peer(model)),
                 model["best_peer"])]


def of_probe(key: str) -> Callable[[dict, float], list[Case]]:
    """What a probe measured several times, under `key`."""
    def cases(probe: dict, floor: float) -> list[Case]:
        each = probe[key]
        return [Case(probe["name"], statistics.median(each), floor, "",
                     (min(each), max(each)))]
    return cases


QUANTITIES = {
    "share of FMA peak": share(flops, ("flop",)),
    "share of reading": share(read, ("read_bytes",)),
    "share of streaming": share(stream, ("read_bytes", "written_bytes")),
    "of the best peer": Quantity(of_best_peer, beside=True),
    "of the best peer's best": Quantity(of_best_peers_best,
                                         beside=True),
    "cv": Quantity(cv_below_peers, at_most=True, beside=True),
    "cv of kernels": Quantity(cv_of_kernels, at_most=True),
    "p99 over median": Quantity(tail_beside_loop, at_most=True),
    "p99 over median, beside the best peer": Quantity(
        tail_beside_peer, at_most=True, beside=True),
    "cold load, ms": Quantity(of_probe("cold_ms"), at_most=True, probe="load"),
    "cached load, ms": Quantity(of_probe("cached_ms"), at_most=True,
                                probe="load"),
    "graph passes, ms": Quantity(of_probe("passes_ms"), at_most=True,
                                 probe="load"),
    "cost of statistics": Quantity(of_probe("cost"), at_most=True,
                                   probe="statistics"),
    "memory above weights, MB": Quantity(of_probe("above_weights_mb"),
                                         at_most=True, probe="rss"),
}


def margin(case: Case, at_most: bool) -> float:
    """How good a case is: 1 and more is good enough."""
    if math.isnan(case.value):
        return -math.inf
    if not at_most:
        return case.value / case.floor
    return case.floor / case.value if case.value > 0 else math.inf


def case_verdict(case: Case, quantity: Quantity) -> str:
    if quantity.yardstick and case.value > 1:
        return WRONG
    return PASS if margin(case, quantity.at_most) >= 1 else BELOW


def line(row: table.Row, measured: Sequence[dict], cpu_class: str,
         reasons: Sequence[str] = ()) -> Line:
    """The row, judged by the figures of its models or of its probe.

    `reasons` say why models are not among them: one that is missing is neither
    passed over nor held against the others.
    """
    quantity = QUANTITIES[row.quantity]
    reasons = list(reasons)
    cases = []
    for model in measured:
        why = quantity.missing(model)
        if why:
            reasons.append(why)
        else:
            cases += quantity.cases(model, row.floor_for(cpu_class))
    if not cases:
        return Line(row, SKIP, None, [], "; ".join(reasons) or
                    "no model or kernel is long enough")
    wrong = [case for case in cases if case_verdict(case, quantity) == WRONG]
    worst = (max(wrong, key=lambda case: case.value) if wrong else
             min(cases, key=lambda case: margin(case, quantity.at_most)))
    verdict = case_verdict(worst, quantity)
    if verdict == PASS and reasons:
        verdict = SKIP
    return Line(row, verdict, worst, cases, "; ".join(reasons))


def cpu_class(facts: dict[str, str]) -> str:
    """Of a CPU in /proc/cpuinfo: whose floors count. By features, for names
    and models are sometimes masked."""
    flags = facts.get("flags", "").split()
    vendor = facts.get("vendor_id")
    if vendor == "GenuineIntel" and "amx_tile" in flags:
        return "intel-amx"
    if vendor == "AuthenticAMD" and "avx512f" in flags:
        return {"25": "zen4", "26": "zen5"}.get(facts.get("cpu family"),
                                                "other")
    return "other"


def peak_trouble(gflops: float, threads: int, cpu_class: str) -> str:
    """Why the run tells nothing; empty if it does."""
    known = table.KNOWN_PEAKS.get(cpu_class)
    if known is None or gflops >= table.LEAST_OF_PEAK * known * threads:
        return ""
    return (f"the FMA peak is {gflops:.0f} GF/s on {threads} threads, expected "
            f"{table.LEAST_OF_PEAK:.0%} of {known * threads:.0f}: the machine "
            "is busy, or throttled; wait, and run it again")


def status(lines: Sequence[Line], trouble: Sequence[str]) -> int:
    """2 if the run tells nothing, 1 if a floor is not reached, else 0."""
    if trouble or any(each.verdict == WRONG for each in lines):
        return 2
    return int(any(each.verdict == BELOW for each in lines))
