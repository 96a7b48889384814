// SPDX-License-Identifier: Apache-2.0
//
// The command-line client, with a server of its own and with one that runs.
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <pty.h>
#include <thread>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "proto/onnx/onnx.pb.h"
#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string TensorFile(const std::string& name, std::vector<int64_t> dims,
                       const std::vector<float>& values) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  for (int64_t dim : dims) tensor.add_dims(dim);
  tensor.set_raw_data(RawFloats(values));
  return tensor.SerializeAsString();
}

// A test of y = x w with w [2, 3]: as it should be, or with a wrong value.
void WriteProductTest(const std::string& folder, float error) {
  WriteFile(folder + "/model.onnx", MatMulFile(2, 3));
  for (int set = 0; set < 2; ++set) {
    const std::string data = absl::StrCat(folder, "/test_data_set_", set);
    WriteFile(data + "/input_0.pb", TensorFile("x", {1, 2}, {1, 0}));
    // The second row of the second set shows that all sets are looked at.
    std::vector<float> y = {WeightAt(0, 0), WeightAt(0, 1), WeightAt(0, 2)};
    if (set == 1) y[2] += error;
    WriteFile(data + "/output_0.pb", TensorFile("y", {1, 3}, y));
  }
}

void WriteUnsupportedTest(const std::string& folder) {
  onnx::ModelProto model;
  model.ParseFromString(MatMulFile(2, 3));
  model.mutable_graph()->mutable_node(0)->set_op_type("Frobnicate");
  WriteFile(folder + "/model.onnx", model.SerializeAsString());
  WriteFile(folder + "/test_data_set_0/input_0.pb",
            TensorFile("x", {1, 2}, {1, 0}));
  WriteFile(folder + "/test_data_set_0/output_0.pb",
            TensorFile("y", {1, 3}, {0, 0, 0}));
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Cli : public ::testing::Test {
 protected:
  Cli() {
    setenv("XDG_CACHE_HOME", (folder_.path() + "/cache").c_str(), 1);
    setenv("TMPDIR", folder_.path().c_str(), 1);
    unsetenv("QUERN_SERVER");
  }
  // The folder is about to go, the next test makes its own elsewhere.
  ~Cli() override { unsetenv("TMPDIR"); }
  Finished Quern(std::vector<std::string> words) {
    words.insert(words.begin(), Program("quern"));
    return RunProgram(words);
  }
  [[nodiscard]] std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }

  Folder folder_;
};

TEST_F(Cli, CheckTellsPassedFailedAndUnsupportedApart) {
  WriteProductTest(Path("t/a_good"), 0);
  WriteProductTest(Path("t/b_bad"), 0.5);
  WriteUnsupportedTest(Path("t/deep/c_unsupported"));
  const Finished finished = Quern({"check", Path("t")});
  EXPECT_EQ(finished.exit_code, 1) << finished.err;
  EXPECT_THAT(finished.out,
              HasSubstr(absl::StrCat("PASS ", Path("t/a_good"), "\n")));
  EXPECT_THAT(finished.out,
              HasSubstr(absl::StrCat(
                  "FAIL ", Path("t/b_bad"),
                  ": test_data_set_1: output 'y' differs at [0,2]: got ")));
  EXPECT_THAT(finished.out,
              HasSubstr(absl::StrCat("UNSUPPORTED ",
                                     Path("t/deep/c_unsupported"), ": ")));
  EXPECT_THAT(finished.out, HasSubstr("Frobnicate"));
  EXPECT_THAT(finished.out, EndsWith("1 passed, 1 failed, 1 skipped\n"));
}

TEST_F(Cli, CheckEndsWithZeroWhenNothingFailed) {
  WriteProductTest(Path("t/good"), 0);
  WriteUnsupportedTest(Path("t/unsupported"));
  const Finished finished =
      Quern({"check", Path("t/good"), Path("t/unsupported")});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out, EndsWith("1 passed, 0 failed, 1 skipped\n"));
}

TEST_F(Cli, CheckTakesTolerancesAndDevices) {
  WriteProductTest(Path("t"), 0.5);
  EXPECT_EQ(Quern({"check", Path("t"), "--atol", "0.6"}).exit_code, 0);
  WriteProductTest(Path("u"), 0);
  EXPECT_EQ(Quern({"check", Path("u"), "--device", "ref"}).exit_code, 0);
}

TEST_F(Cli, ChecksRunBesideEachOther) {
  WriteProductTest(Path("t"), 0);
  std::vector<std::thread> threads;
  std::atomic<int> passed = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      passed += Quern({"check", Path("t")}).exit_code == 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(passed, 4);
}

TEST_F(Cli, AServerOfACommandLeavesNothingBehind) {
  WriteProductTest(Path("t"), 0);
  ASSERT_EQ(Quern({"check", Path("t")}).exit_code, 0);
  for (const auto& entry :
       std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_THAT(entry.path().filename().string(),
                ::testing::Not(StartsWith("quern-")));
  }
}

TEST_F(Cli, RunTakesTheTestDataBesideTheModelAndWritesOutputs) {
  WriteProductTest(Path("t"), 0);
  const Finished finished =
      Quern({"run", Path("t/model.onnx"), "--json", "--output", Path("out")});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const auto json = nlohmann::json::parse(finished.out);
  EXPECT_EQ(json["inputs"], Path("t/test_data_set_0"));
  EXPECT_EQ(json["outputs"][0]["dims"], nlohmann::json({1, 3}));
  EXPECT_FLOAT_EQ(json["outputs"][0]["values"][1], WeightAt(0, 1));
  EXPECT_TRUE(std::filesystem::exists(Path("out/output_0.pb")));
}

TEST_F(Cli, RandomInputsAreTheSameEachTimeAndSayTheirSeed) {
  WriteFile(Path("model.onnx"), PerceptronFile());
  const std::vector<std::string> words = {
      "run", Path("model.onnx"), "--json", "--dim", "batch=4", "--seed", "9"};
  const Finished first = Quern(words);
  const Finished second = Quern(words);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const auto a = nlohmann::json::parse(first.out);
  const auto b = nlohmann::json::parse(second.out);
  EXPECT_EQ(a["inputs"], "random, seed 9");
  EXPECT_EQ(a["outputs"][0]["dims"], nlohmann::json({4, 10}));
  EXPECT_EQ(a["outputs"], b["outputs"]);
}

TEST_F(Cli, BenchPrintsOneObjectForPrograms) {
  WriteFile(Path("model.onnx"), PerceptronFile());
  const Finished finished =
      Quern({"bench", Path("model.onnx"), "--runs", "10", "--warmup", "1",
             "--threads", "1", "--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const auto json = nlohmann::json::parse(finished.out);
  // In the order in which they are printed.
  const auto ordered = nlohmann::ordered_json::parse(finished.out);
  std::vector<std::string> keys;
  for (const auto& [key, value] : ordered.items()) keys.push_back(key);
  EXPECT_THAT(keys, ::testing::ElementsAre("model", "device", "threads", "runs",
                                           "engine_ms", "request_ms",
                                           "compile_ms", "kernels", "notes"));
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_EQ(json["threads"], 1);
  EXPECT_EQ(json["runs"], 10);
  for (const char* times : {"engine_ms", "request_ms"}) {
    for (const char* key :
         {"median", "mean", "stdev", "cv", "min", "p90", "p99"}) {
      EXPECT_TRUE(json[times][key].is_number()) << times << " " << key;
    }
    EXPECT_LE(json[times]["min"], json[times]["p99"]);
  }
  EXPECT_GT(json["compile_ms"]["cold"], 0);
  EXPECT_GT(json["compile_ms"]["cached"], 0);
  ASSERT_FALSE(json["kernels"].empty());
  for (const char* key : {"name", "launches", "median_us", "mean_us",
                          "stdev_us", "cv", "share", "roofline"}) {
    EXPECT_TRUE(json["kernels"][0].contains(key)) << key;
  }
}

TEST_F(Cli, TuneMeasuresKernelsAndTellsWhatItCost) {
  WriteFile(Path("model.onnx"), PerceptronFile());
  const std::vector<std::string> tune = {
      "tune",     Path("model.onnx"), "--inputs", "random",       "--dim",
      "batch=64", "--runs",           "5",        "--candidates", "3"};
  const Finished text = Quern(tune);
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("outer product, tile"));
  EXPECT_THAT(text.out, HasSubstr("kernels compiled"));
  std::vector<std::string> for_programs = tune;
  for_programs.push_back("--json");
  const Finished finished = Quern(for_programs);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const auto json = nlohmann::json::parse(finished.out);
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_GT(json["seconds"], 0);
  EXPECT_EQ(json["run"]["estimated"]["count"], 5);
  ASSERT_FALSE(json["kernels"].empty());
  EXPECT_EQ(json["kernels"][0]["measured"], 3);
  EXPECT_GT(json["kernels"][0]["estimated"]["median_us"], 0);
  EXPECT_GT(json["kernels"][0]["chosen"]["median_us"], 0);
}

TEST_F(Cli, TuningTravelsFromOneServerToAnother) {
  const std::string table =
      "quern tuning 1\nsome cpu\t00ff:01\ta tile\t20\t5\t5.5\t1\t20\t4\t4\t1\n";
  WriteFile(Path("in.tsv"), table);
  const Finished import = Quern({"tune", "--import", Path("in.tsv")});
  ASSERT_EQ(import.exit_code, 0) << import.err;
  EXPECT_EQ(import.out, "1 choices taken\n");
  // Of another server with the same cache folder.
  const Finished out = Quern({"tune", "--export", Path("out.tsv")});
  ASSERT_EQ(out.exit_code, 0) << out.err;
  EXPECT_EQ(Content(Path("out.tsv")), table);

  WriteFile(Path("wrong.tsv"), table + "rubbish\n");
  const Finished wrong = Quern({"tune", "--import", Path("wrong.tsv")});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err,
              HasSubstr("INVALID_ARGUMENT: this is no tuning table: line 3 is "
                        "'rubbish'"));
}

TEST_F(Cli, CommandsTalkToAServerThatRuns) {
  WriteFile(Path("models/mlp/1/model.onnx"), PerceptronFile());
  Daemon daemon({"--model-repository", Path("models")});
  const std::vector<std::string> server = {"--server", daemon.address()};
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.begin(), server.begin(), server.end());
    return Quern(words);
  };
  EXPECT_THAT(with({"models"}).out, HasSubstr("READY"));
  EXPECT_THAT(with({"devices"}).out, HasSubstr("cpu"));
  const Finished run = with({"run", "mlp", "--inputs", "random"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("f32[1,10]"));
  EXPECT_THAT(with({"kernels", "mlp"}).out, HasSubstr("mlp/1"));
  EXPECT_THAT(with({"explain", "mlp", "--stage", "source"}).out,
              HasSubstr("define void @"));
  const Finished bench =
      with({"bench", "mlp", "--runs", "5", "--inputs", "random"});
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  EXPECT_THAT(bench.out, HasSubstr("request"));
  const Finished unknown = with({"run", "nope"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("there is no model 'nope'"));
}

TEST_F(Cli, WhatIsWrongIsSaidOnTheStandardError) {
  struct Case {
    std::vector<std::string> words;
    int exit_code;
    const char* message;
  };
  const Case cases[] = {
      {{"run", "/nonexistent.onnx"}, 1, "there is no file /nonexistent.onnx"},
      {{"check", "/nonexistent"}, 1, "there is no model.onnx in or below"},
      {{"run", "x.onnx", "--dim", "n"}, 2, "--dim: expected NAME=N, got n"},
      {{"frobnicate"}, 2, "A subcommand is required"},
      {{"tune"}, 1, "expected one of MODEL, --export and --import"},
      {{"tune", "x.onnx", "--runs", "1"}, 2, "--runs"},
      {{}, 2, "subcommand"},
      {{"--server", "127.0.0.1:1", "devices"}, 1, "UNAVAILABLE"},
  };
  for (const Case& c : cases) {
    const Finished finished = Quern(c.words);
    EXPECT_EQ(finished.exit_code, c.exit_code) << c.message;
    EXPECT_THAT(finished.err, HasSubstr(c.message));
  }
}

TEST_F(Cli, LoadsCountsAndUnloadsAModelOfAServerWithTokens) {
  const std::string file = folder_.path() + "/m.onnx";
  const std::string tokens = folder_.path() + "/tokens";
  WriteFile(file, MatMulFile(2, 3));
  WriteFile(tokens, "admin admin-token-0123456789\n");
  Daemon daemon({"--token-file", tokens});
  ASSERT_FALSE(daemon.address().empty());
  const auto quern = [&](std::vector<std::string> words) {
    words.insert(words.begin(),
                 {Program("quern"), "--server", daemon.address()});
    return RunProgram(words);
  };
  EXPECT_THAT(quern({"load", "m", "--file", file}).err,
              HasSubstr("UNAUTHENTICATED"));
  setenv("QUERN_TOKEN", "admin-token-0123456789", 1);
  const Finished refused =
      quern({"load", "m", "--file", file, "--set", "numerics=fast"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("expected default or strict"));
  EXPECT_EQ(quern({"load", "m", "--file", file, "--set", "warmup=least"}).out,
            "m is loaded\n");
  EXPECT_EQ(quern({"run", "m", "--dim", "n=4"}).exit_code, 0);
  const Finished stats = quern({"stats", "m", "--json"});
  const auto json = nlohmann::json::parse(stats.out);
  EXPECT_EQ(json[0]["inferences"], 1);
  EXPECT_EQ(json[0]["times"]["success"]["count"], 1);
  EXPECT_THAT(quern({"stats"}).out, HasSubstr("m version 1: 1 inferences"));
  EXPECT_EQ(quern({"unload", "m"}).out, "m is unloaded\n");
  EXPECT_EQ(quern({"unload", "m"}).exit_code, 1);
  unsetenv("QUERN_TOKEN");
  EXPECT_THAT(RunProgram({Program("quern"), "load", "m"}).err,
              HasSubstr("--server"));
}

// Whether this machine has terminals; a bare chroot has none.
bool HasTerminals() {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) return false;
  close(terminal);
  return true;
}

// Runs quern on a terminal of 140 by 40 characters of the kind `term`, types
// `keys` once its output has `awaited`, and waits for its end.
Finished OnTerminal(std::vector<std::string> words, const std::string& term,
                    const std::string& awaited, const std::string& keys) {
  words.insert(words.begin(), Program("quern"));
  winsize size = {};
  size.ws_row = 40;
  size.ws_col = 140;
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid < 0) {
    ADD_FAILURE() << "forkpty: " << strerror(errno);
    return {};
  }
  if (pid == 0) {
    setenv("TERM", term.c_str(), 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  Finished finished;
  bool typed = false;
  char bytes[4096];
  while (true) {
    const ssize_t n = read(terminal, bytes, sizeof(bytes));
    if (n <= 0) break;
    finished.out.append(bytes, static_cast<size_t>(n));
    if (!typed && finished.out.find(awaited) != std::string::npos) {
      typed = true;
      EXPECT_EQ(write(terminal, keys.data(), keys.size()),
                static_cast<ssize_t>(keys.size()));
    }
  }
  int status = 0;
  waitpid(pid, &status, 0);
  close(terminal);
  finished.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return finished;
}

class Top : public Cli {
 protected:
  Top() {
    WriteFile(Path("models/mlp/1/model.onnx"), PerceptronFile());
    daemon_ = std::make_unique<Daemon>(
        std::vector<std::string>{"--model-repository", Path("models")});
    client_ = std::thread([this] {
      while (!stop_) {
        EXPECT_TRUE(Infer(*daemon_, PerceptronRequest(1)).status.ok());
      }
    });
  }
  ~Top() override {
    stop_ = true;
    client_.join();
  }

  std::unique_ptr<Daemon> daemon_;
  std::atomic<bool> stop_ = false;
  std::thread client_;
};

TEST_F(Top, ShowsModelsAndTheirKernelsOnATerminal) {
  if (!HasTerminals()) GTEST_SKIP() << "there are no terminals here";
  for (const std::string keys : {"s \033[B\033[6~q", "\003"}) {
    const Finished finished =
        OnTerminal({"top", "--server", daemon_->address(), "--period", "0.1"},
                   "xterm", "kernel of mlp/1", keys);
    EXPECT_EQ(finished.exit_code, 0) << finished.out;
    EXPECT_THAT(finished.out, HasSubstr("queue us mean us"));
    EXPECT_THAT(finished.out, HasSubstr("share   roof mean us"));
    EXPECT_THAT(finished.out, HasSubstr("\u2588"));
    // The terminal is as it was: out of the other screen, with a cursor.
    EXPECT_THAT(finished.out, HasSubstr("\033[?1049l"));
  }
}

TEST_F(Top, SaysWhyItCannotShow) {
  const std::vector<std::string> words = {"top", "--server",
                                          daemon_->address()};
  if (HasTerminals()) {
    const Finished odd = OnTerminal(words, "teletype-1930", "\n", "");
    EXPECT_EQ(odd.exit_code, 1);
    EXPECT_THAT(odd.out, HasSubstr("teletype-1930"));
  }
  const Finished none = Quern(words);
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("top needs a terminal; --json"));
  EXPECT_THAT(Quern({"top"}).err, HasSubstr("--server"));
  const Finished unknown =
      Quern({"top", "nothing", "--json", "--server", daemon_->address()});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("nothing"));
}

TEST_F(Top, PrintsWindowsForPrograms) {
  const Finished finished =
      Quern({"top", "mlp", "--json", "--windows", "3", "--period", "0.2",
             "--server", daemon_->address()});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  int lines = 0;
  for (const absl::string_view line : absl::StrSplit(finished.out, '\n')) {
    if (line.empty()) continue;
    ++lines;
    const auto window = nlohmann::json::parse(line);
    EXPECT_GT(window["window_s"], 0.1);
    const auto& model = window["loaded"][0];
    EXPECT_EQ(model["model"], "mlp/1");
    EXPECT_GT(model["successes"], 0);
    EXPECT_GT(model["request"]["mean_us"], 0);
    EXPECT_EQ(model["phases"].size(), 4u);
    EXPECT_GT(model["kernels"][0]["launches"], 0);
  }
  EXPECT_EQ(lines, 3);
}

}  // namespace
}  // namespace quern::e2e
