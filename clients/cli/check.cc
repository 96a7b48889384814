// SPDX-License-Identifier: Apache-2.0
//
// quern check: runs models on the data sets beside them and compares.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <nlohmann/json.hpp>

#include "clients/cli/commands.h"
#include "clients/cli/subject.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;

// Folders that hold a model, `folder` itself or those below it, sorted.
void FindTests(const fs::path& folder, std::vector<std::string>& tests) {
  std::error_code error;
  if (fs::exists(folder / "model.onnx", error)) {
    tests.push_back(folder.string());
    return;
  }
  std::vector<fs::path> below;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_directory(error)) below.push_back(it->path());
  }
  std::sort(below.begin(), below.end());
  for (const fs::path& path : below) FindTests(path, tests);
}

std::vector<std::string> DataSetsOf(const std::string& folder) {
  std::vector<std::string> sets;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (absl::StartsWith(it->path().filename().string(), "test_data_set_")) {
      sets.push_back(it->path().string());
    }
  }
  std::sort(sets.begin(), sets.end());
  return sets;
}

enum class Verdict { kPass, kFail, kUnsupported };

struct Outcome {
  Verdict verdict = Verdict::kPass;
  std::string reason;
};

Outcome FromStatus(const absl::Status& status) {
  return {
      absl::IsUnimplemented(status) ? Verdict::kUnsupported : Verdict::kFail,
      std::string(status.message())};
}

Outcome CompareOutputs(const v1::ExecuteResult& result,
                       const std::vector<v1::NamedTensor>& expected,
                       const Tolerance& tolerance) {
  if (static_cast<int>(expected.size()) != result.outputs_size()) {
    return {Verdict::kFail,
            absl::StrCat("has ", result.outputs_size(), " outputs, expected ",
                         expected.size())};
  }
  for (int i = 0; i < result.outputs_size(); ++i) {
    const std::string difference =
        Difference(result.outputs(i).tensor(), expected[i].tensor(), tolerance);
    if (difference.empty()) continue;
    return {Verdict::kFail, absl::StrCat("output '", result.outputs(i).name(),
                                         "' ", difference)};
  }
  return {};
}

class Checker {
 public:
  Checker(const Options& options, std::unique_ptr<Connection> connection)
      : options_(options),
        connection_(std::move(connection)),
        progress_(options) {}

  Outcome CheckFolder(const std::string& folder) {
    Outcome outcome = CheckModel(folder);
    if (connection_->started() && !connection_->Alive()) {
      // A test that ends the server is a failed test, not the end.
      outcome = {Verdict::kFail,
                 absl::StrCat("the server died: ", outcome.reason)};
      connection_.reset();
      auto again = OpenConnection(options_, false);
      if (again.ok()) connection_ = *std::move(again);
    }
    return outcome;
  }

  // False if there is no server any more.
  [[nodiscard]] bool connected() const { return connection_ != nullptr; }

  ProgressLine& progress() { return progress_; }

 private:
  Outcome CheckModel(const std::string& folder) {
    const absl::StatusOr<std::string> bytes = ReadFile(folder + "/model.onnx");
    if (!bytes.ok()) return FromStatus(bytes.status());
    const std::vector<std::string> sets = DataSetsOf(folder);
    if (sets.empty()) {
      return {Verdict::kUnsupported, "there is no test data"};
    }
    Outcome outcome;
    for (const std::string& set : sets) {
      outcome = CheckSet(*bytes, set);
      if (outcome.verdict == Verdict::kPass) continue;
      if (sets.size() > 1) {
        outcome.reason = absl::StrCat(fs::path(set).filename().string(), ": ",
                                      outcome.reason);
      }
      return outcome;
    }
    return outcome;
  }

  Outcome CheckSet(const std::string& model, const std::string& set) {
    // What cannot be served is told before what cannot be read: a model of
    // sequences is unsupported for its operators.
    auto inputs = ReadTensors(set, "input");
    auto submitted =
        SubmitOnnx(*connection_, model,
                   inputs.ok() ? *inputs : std::vector<v1::NamedTensor>{});
    if (!submitted.ok()) return FromStatus(submitted.status());
    if (!inputs.ok()) return FromStatus(inputs.status());
    auto expected = ReadTensors(set, "output");
    if (!expected.ok()) return FromStatus(expected.status());
    const v1::SubmitResponse& response = submitted->response;
    v1::Subject subject;
    subject.set_graph_id(response.graph_id());
    subject.mutable_settings()->set_device(options_.device);
    const auto result =
        Execute(*connection_, subject, submitted->inputs, progress_);
    if (!result.ok()) return FromStatus(result.status());
    Outcome outcome = CompareOutputs(*result, *expected, options_.tolerance);
    if (outcome.verdict == Verdict::kPass && !submitted->fixed.empty()) {
      outcome.reason =
          absl::StrCat("with the content of input ",
                       absl::StrJoin(submitted->fixed, ", "), " fixed at load");
    }
    return outcome;
  }

  const Options& options_;
  std::unique_ptr<Connection> connection_;
  ProgressLine progress_;
};

const char* Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "PASS";
    case Verdict::kFail:
      return "FAIL";
    case Verdict::kUnsupported:
      return "UNSUPPORTED";
  }
  return "";
}

}  // namespace

absl::StatusOr<bool> Check(const Options& options) {
  std::vector<std::string> tests;
  for (const std::string& folder : options.folders) {
    const size_t before = tests.size();
    FindTests(folder, tests);
    if (tests.size() == before) {
      return absl::NotFoundError(
          absl::StrCat("there is no model.onnx in or below ", folder));
    }
  }
  auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  Checker checker(options, *std::move(connection));
  int counts[3] = {0, 0, 0};
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (size_t i = 0; i < tests.size(); ++i) {
    checker.progress().Show(
        absl::StrCat(i + 1, "/", tests.size(), " ", tests[i]));
    const Outcome outcome = checker.CheckFolder(tests[i]);
    checker.progress().Clear();
    ++counts[static_cast<int>(outcome.verdict)];
    if (options.json) {
      results.push_back({{"verdict", Name(outcome.verdict)},
                         {"folder", tests[i]},
                         {"reason", outcome.reason}});
    } else {
      std::printf("%s %s%s%s\n", Name(outcome.verdict), tests[i].c_str(),
                  outcome.reason.empty() ? "" : ": ", outcome.reason.c_str());
      std::fflush(stdout);
    }
    if (!checker.connected()) {
      return absl::UnavailableError("the server cannot be started again");
    }
  }
  if (options.json) {
    const nlohmann::ordered_json out = {{"tests", results},
                                        {"passed", counts[0]},
                                        {"failed", counts[1]},
                                        {"skipped", counts[2]}};
    // A reason may quote bytes of a file that are no UTF-8.
    std::printf("%s\n",
                out.dump(-1, ' ', false,
                         nlohmann::ordered_json::error_handler_t::replace)
                    .c_str());
  } else {
    std::printf("%d passed, %d failed, %d skipped\n", counts[0], counts[1],
                counts[2]);
  }
  return counts[1] == 0;
}

}  // namespace quern::cli
