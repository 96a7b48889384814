// SPDX-License-Identifier: Apache-2.0
//
// quern: the command-line client.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include <CLI/CLI.hpp>

#include "clients/cli/commands.h"

namespace quern::cli {
namespace {

// "NAME=N" into the sizes.
std::string AddSize(const std::string& text, Options& options) {
  const size_t equals = text.rfind('=');
  int64_t size = 0;
  if (equals == std::string::npos || equals == 0 ||
      !absl::SimpleAtoi(text.substr(equals + 1), &size) || size < 0) {
    return "expected NAME=N, got " + text;
  }
  options.sizes[text.substr(0, equals)] = size;
  return "";
}

void AddDevice(CLI::App* command, Options& o) {
  command->add_option("--device", o.device, "the device that runs the model");
}

void AddInputs(CLI::App* command, Options& o, std::vector<std::string>& sizes) {
  command->add_option("--inputs", o.inputs,
                      "random, or a folder with input_0.pb, input_1.pb, ..; "
                      "default: test_data_set_0 beside the model, else random");
  command->add_option("--dim", sizes, "NAME=N: a free dimension's size")
      ->allow_extra_args(false);
  command->add_option("--seed", o.seed, "of random inputs")
      ->capture_default_str();
}

void AddModel(CLI::App* command, Options& o, bool required = true) {
  auto* option = command->add_option(
      "model", o.model, "an ONNX file, a graph file, or a served model");
  if (required) option->required();
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string message(status.message());
  std::fprintf(stderr, "quern: %s: %s\n", code.c_str(), message.c_str());
  return 1;
}

int Main(int argc, char** argv) {
  CleanUpOnSignals();
  Options o;
  std::vector<std::string> sizes;
  std::vector<std::string> assignments;
  if (const char* server = std::getenv("QUERN_SERVER")) o.server = server;
  // Not on command lines, which others can read.
  if (const char* token = std::getenv("QUERN_TOKEN")) o.token = token;
  CLI::App app("quern talks to quernd, or starts one for a command", "quern");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", o.server,
                 "HOST:PORT or unix:PATH; without it (and QUERN_SERVER) a "
                 "server is started");
  app.add_option("--tls-ca", o.tls_ca,
                 "PEM file of the authority of the server's certificate; a "
                 "token is taken from QUERN_TOKEN");
  app.add_flag("--json", o.json, "print JSON for programs");
  app.add_flag("--progress", o.progress,
               "show progress though this is no terminal");
  auto* cache = app.add_option("--cache-dir", o.cache_dir,
                               "cache folder of a started server");
  app.add_option("--threads", o.threads, "threads of a started server")
      ->check(CLI::Range(1, 4096));

  auto* run = app.add_subcommand("run", "run a model once");
  AddModel(run, o);
  AddDevice(run, o);
  AddInputs(run, o, sizes);
  run->add_option("--output", o.output, "folder for output_0.pb, ..");

  auto* check =
      app.add_subcommand("check", "run models on their test data and compare");
  check->add_option("dir", o.folders, "folders with models and test data")
      ->required();
  AddDevice(check, o);
  check->add_option("--rtol", o.tolerance.rtol, "relative tolerance")
      ->capture_default_str();
  check->add_option("--atol", o.tolerance.atol, "absolute tolerance")
      ->capture_default_str();

  auto* bench = app.add_subcommand("bench", "measure a model");
  AddModel(bench, o);
  AddDevice(bench, o);
  AddInputs(bench, o, sizes);
  bench->add_option("--warmup", o.warmup, "runs before the measured ones")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  bench->add_option("--runs", o.runs, "measured runs")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();

  auto* tune = app.add_subcommand(
      "tune",
      "measure what the kernels of a model could be, and keep what is better");
  AddModel(tune, o, false);
  AddDevice(tune, o);
  AddInputs(tune, o, sizes);
  tune->add_option("--runs", o.tune_runs, "runs in each comparison")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  tune->add_option("--candidates", o.candidates,
                   "choices to measure for each kernel")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  tune->add_option("--export", o.export_file,
                   "file for what was found, for another server");
  tune->add_option("--import", o.import_file, "file of another server")
      ->check(CLI::ExistingFile);

  auto* explain =
      app.add_subcommand("explain", "show what the compiler made of a model");
  AddModel(explain, o);
  AddDevice(explain, o);
  explain
      ->add_option("--stage", o.stage,
                   "graph, schedule, kernel, source, asm or notes")
      ->capture_default_str();
  explain->add_option("--kernel", o.kernel, "one kernel by its name");

  auto* models = app.add_subcommand("models", "list the served models");
  auto* load = app.add_subcommand(
      "load", "load a model of the server's repository, or a file");
  load->add_option("model", o.model, "its name")->required();
  load->add_option("--file", o.file, "an ONNX file to send")
      ->check(CLI::ExistingFile);
  load->add_option("--version", o.version, "its version, with --file")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--set", assignments,
                   "KEY=VALUE: a setting as in the parameters of config.pbtxt")
      ->allow_extra_args(false);
  AddDevice(load, o);
  auto* unload = app.add_subcommand("unload", "end the service of a model");
  unload->add_option("model", o.model, "its name")->required();
  auto* stats = app.add_subcommand(
      "stats", "show how many requests a model had, and where their time went");
  stats->add_option("model", o.model, "its name; default: all");
  auto* devices = app.add_subcommand("devices", "list the server's devices");
  auto* kernels = app.add_subcommand(
      "kernels", "list the kernels of what is loaded, with their times");
  AddModel(kernels, o, false);
  AddDevice(kernels, o);
  AddInputs(kernels, o, sizes);
  auto* top = app.add_subcommand(
      "top",
      "show models and kernels as they run: up and down select a model, page "
      "up and down scroll, s sorts kernels, space pauses, q ends");
  top->add_option("model", o.model, "its name; default: all that is loaded");
  top->add_option("--period", o.period_s, "seconds between two windows")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  top->add_option("--windows", o.windows, "end after so many, with --json")
      ->check(CLI::PositiveNumber);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // 2 tells a wrong command line from a command that failed.
    return app.exit(error) == 0 ? 0 : 2;
  }
  o.has_cache_dir = cache->count() > 0;
  for (const std::string& size : sizes) {
    const std::string wrong = AddSize(size, o);
    if (wrong.empty()) continue;
    std::fprintf(stderr, "quern: --dim: %s\n", wrong.c_str());
    return 2;
  }
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      std::fprintf(stderr, "quern: --set: expected KEY=VALUE, got %s\n",
                   assignment.c_str());
      return 2;
    }
    o.settings[assignment.substr(0, equals)] = assignment.substr(equals + 1);
  }
  if (run->parsed()) return Report(Run(o));
  if (load->parsed()) return Report(Load(o));
  if (unload->parsed()) return Report(Unload(o));
  if (stats->parsed()) return Report(Stats(o));
  if (bench->parsed()) return Report(Bench(o));
  if (tune->parsed()) return Report(Tune(o));
  if (explain->parsed()) return Report(Explain(o));
  if (models->parsed()) return Report(ListModels(o));
  if (devices->parsed()) return Report(ListDevices(o));
  if (kernels->parsed()) return Report(ListKernels(o));
  if (top->parsed()) return Report(Top(o));
  const absl::StatusOr<bool> passed = Check(o);
  if (!passed.ok()) return Report(passed.status());
  return *passed ? 0 : 1;
}

}  // namespace
}  // namespace quern::cli

int main(int argc, char** argv) { return quern::cli::Main(argc, argv); }
