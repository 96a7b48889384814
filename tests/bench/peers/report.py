# SPDX-License-Identifier: Apache-2.0
"""The results of `./dev bench peers` as a table and as a picture."""

import figures

ENGINES = ("quern", "onnxruntime", "openvino")
TITLES = {"quern": "Quern", "onnxruntime": "ONNX Runtime",
          "openvino": "OpenVINO"}


def milliseconds(engine: dict) -> str:
    if "error" in engine:
        return "no"
    return (f"{figures.number(engine['median'])} / "
            f"{figures.number(engine['p99'])} / {engine['cv']:.1%}")


def rate(model: dict) -> str:
    """What the engine did in a second, if its work is known: of arithmetic, or
    of what it moved if there is little arithmetic to it."""
    median = model["engines"]["quern"].get("median")
    work = model["work"]
    if median is None or "written_bytes" not in work:
        return "-"
    moved = work["read_bytes"] + work["written_bytes"]
    if work["flop"] > 10 * moved:
        return f"{figures.number(work['flop'] / median * 1e-6)} GF/s"
    return f"{figures.number(moved / median * 1e-6)} GB/s"


def row(model: dict) -> list[str]:
    engines = model["engines"]
    ratio = model["ratios"].get(model["best_peer"])
    noise = model["calibration"]
    return [model["name"], *(milliseconds(engines[name]) for name in ENGINES),
            rate(model), figures.spread(ratio) if ratio else "-",
            f"{noise['cv']:.1%} / {noise['p99'] / noise['median']:.2f}",
            model["agreement"]["verdict"]]


def markdown(results: dict) -> str:
    machine, loop = results["machine"], results["calibration"]
    trouble = [f"- {model['name']}, {TITLES[name]}: "
               f"{engine['error'].splitlines()[0]}\n"
               for model in results["models"]
               for name, engine in model["engines"].items()
               if "error" in engine]
    return (
        f"# Quern beside its peers\n\n"
        f"`{results['command']}` at {machine['commit']}, "
        f"{results['rounds']} rounds, {results['threads']} threads.\n"
        f"{machine['cpu']}, {machine['cores']} cores; measured, a thread: "
        f"{loop['peak_gflops_a_thread']:.0f} GF/s, "
        f"{loop['read_gb_per_s_a_thread']:.0f} GB/s from memory.\n"
        f"ONNX Runtime {results['versions'].get('onnxruntime', '-')}, "
        f"OpenVINO {results['versions'].get('openvino', '-')}.\n\n"
        f"Times are median ms / p99 ms / cv. The ratio is the best peer's "
        f"time over Quern's,\nround by round: median (least to greatest); "
        f"above 1 Quern is faster. Noise is the\ncv / p99 over median of a "
        f"loop of fixed work that took turns with the engines. The rate is "
        f"Quern's.\n\n"
        + figures.table(
            ["model", *(TITLES[name] for name in ENGINES),
             "rate", "ratio to the best peer", "noise", "outputs"],
            [row(model) for model in results["models"]])
        + ("\n" + "".join(trouble) if trouble else ""))


def picture(results: dict) -> str:
    """Bars of each engine's median over Quern's, for models that it runs."""
    groups = []
    for model in results["models"]:
        medians = {name: engine["median"]
                   for name, engine in model["engines"].items()
                   if "median" in engine}
        if "quern" in medians:
            groups.append((model["name"],
                           [(TITLES[name], value / medians["quern"])
                            for name, value in medians.items()]))
    return figures.bars("Median time as a multiple of Quern's (shorter is "
                        "faster)", groups)
