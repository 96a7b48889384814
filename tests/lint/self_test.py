#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants violations and sees that the lints find them."""

import pathlib
import tempfile
import unittest

import check_layers
import check_metrics
import check_tree

LAYERS = check_layers.read_layers(
    pathlib.Path(__file__).with_name("layers.txt").read_text())


def layers(name: str, text: str) -> list[str]:
    return check_layers.check_file(LAYERS, name, text)


class Layers(unittest.TestCase):
    def test_a_stage_may_include_an_earlier_one(self):
        text = '#include "engine/ir/node.h"\n#include <vector>\n'
        self.assertEqual(layers("engine/graph/graph.h", text), [])

    def test_a_stage_may_not_include_a_later_one(self):
        text = '\n#include "engine/schedule/fuse.h"\n'
        self.assertEqual(layers("engine/ir/node.h", text),
                         ["engine/ir/node.h:2: engine/ir/ may not include "
                          "engine/schedule/fuse.h"])

    def test_the_engine_may_not_include_what_surrounds_it(self):
        for path in ("proto/onnx/onnx.pb.h", "backends/cpu/jit.h",
                     "server/codec.h", "grpcpp/grpcpp.h", "llvm/IR/Module.h",
                     "google/protobuf/message.h"):
            for quotes in ('"%s"', "<%s>"):
                text = "#include " + quotes % path
                for name in ("engine/engine.h", "engine/runtime/executor.cc"):
                    self.assertEqual(len(layers(name, text)), 1, text)

    def test_no_backend_may_include_another(self):
        text = '#include "backends/cpu/jit.h"\n'
        self.assertEqual(len(layers("backends/cuda/device.cc", text)), 1)
        self.assertEqual(layers("backends/cpu/device.cc", text), [])

    def test_llvm_is_for_the_cpu_backend_alone(self):
        text = "#include <llvm/IR/Module.h>\n"
        self.assertEqual(layers("backends/cpu/jit.cc", text), [])
        self.assertEqual(len(layers("backends/vulkan/codegen.cc", text)), 1)

    def test_only_main_sees_server_and_backends(self):
        text = '#include "backends/register_all.h"\n'
        self.assertEqual(layers("server/main.cc", text), [])
        self.assertEqual(len(layers("server/server.cc", text)), 1)

    def test_the_system_may_be_included_everywhere(self):
        text = "#include <sys/stat.h>\n#include <unistd.h>\n"
        self.assertEqual(layers("engine/base/check.h", text), [])

    def test_a_path_must_start_at_the_root(self):
        self.assertEqual(len(layers("engine/ir/op.cc", '#include "op.h"\n')),
                         1)

    def test_a_file_without_a_row_is_a_problem(self):
        self.assertEqual(len(layers("elsewhere/a.h", "")), 1)


class Tree(unittest.TestCase):
    def test_empty_names_are_found(self):
        for name in ("engine/base/string_utils.h", "server/common/a.cc",
                     "server/model_manager.cc", "engine/misc.h"):
            self.assertEqual(len(check_tree.check_name(name)), 1, name)

    def test_the_shared_folder_of_backends_is_allowed(self):
        self.assertEqual(
            check_tree.check_name("backends/common/c_renderer.h"), [])
        self.assertEqual(
            len(check_tree.check_name("backends/common/utils.h")), 1)

    def test_empty_class_names_are_found(self):
        text = "class ModelManager {\n};\nstruct Managed {};\n"
        self.assertEqual(check_tree.check_classes("a.h", text),
                         ["a.h: a class name without meaning: ModelManager"])

    def test_the_licence_must_come_first(self):
        line = "// SPDX-License-Identifier: Apache-2.0\n"
        self.assertEqual(check_tree.check_licence("a.h", line), [])
        self.assertEqual(check_tree.check_licence("a.sh", "#!/b\n" + line), [])
        self.assertEqual(len(check_tree.check_licence("a.h", "\n" + line)), 1)
        self.assertEqual(len(check_tree.check_licence("a.h", "")), 1)

    def test_unsorted_lists_are_found(self):
        good = "quern_library(NAME x\n  HEADERS a.h b.h\n  SOURCES a.cc b.cc)"
        self.assertEqual(check_tree.check_cmake("CMakeLists.txt", good), [])
        bad = good.replace("a.cc b.cc", "b.cc a.cc")
        self.assertEqual(len(check_tree.check_cmake("CMakeLists.txt", bad)), 1)

    def test_globs_are_found(self):
        text = "file(GLOB sources *.cc)"
        self.assertEqual(len(check_tree.check_cmake("CMakeLists.txt", text)),
                         1)

    def test_broken_links_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "there.md").touch()
            text = "[a](there.md) [b](gone.md) [c](https://x.y) [d](#here)"
            self.assertEqual(check_tree.check_links("README.md", text, root),
                             ["README.md: broken link: gone.md"])

    def test_unfinished_work_is_found(self):
        text = "int a;\n// TO" + "DO: b\n"
        self.assertEqual(len(check_tree.check_forbidden("engine/a.cc", text)),
                         1)

    def test_the_environment_is_read_in_one_place(self):
        text = 'std::getenv("HOME");\n'
        self.assertEqual(
            len(check_tree.check_forbidden("engine/a.cc", text)), 1)
        self.assertEqual(
            check_tree.check_forbidden("server/config.cc", text), [])

    def test_passes_do_not_ask_for_a_backend(self):
        text = 'if (target.backend == "cpu") {\n'
        self.assertEqual(
            len(check_tree.check_forbidden("engine/kernel/expand.cc", text)),
            1)


SERIES = check_metrics.read_metrics("""
QUERN_METRIC(kLoads, "quern_loads_total", kCounter,   "loads",   "code",  "")
QUERN_METRIC(kTime,  "quern_time",        kHistogram, "seconds", "model", "")
""")


class Metrics(unittest.TestCase):
    def test_what_the_table_has_is_found(self):
        for text in ("quern_loads_total", "quern_time_bucket", "quern_loads_*",
                     'rate(quern_loads_total{code="OK"}[5m])',
                     'sum by (le, job) (quern_time_bucket{le=~".+"})'):
            self.assertEqual(check_metrics.check_text(SERIES, text), [])

    def test_what_the_table_lacks_is_a_problem(self):
        for text in ("quern_gone", "nv_gone", "quern_loads_total_bucket",
                     "quern_gone_*", 'quern_loads_total{model="a"}',
                     'quern_time_sum{le="1"}',
                     "sum by (kernel) (quern_loads_total)"):
            self.assertEqual(len(check_metrics.check_text(SERIES, text)), 1,
                             text)


if __name__ == "__main__":
    unittest.main()
