// SPDX-License-Identifier: Apache-2.0
#include "engine/tuner.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include <sys/resource.h>

#include "engine/base/status_macros.h"
#include "engine/telemetry/distribution.h"

namespace quern {
namespace {

// A kernel that takes less of a run than this is left as it is.
constexpr double kLeastShare = 0.005;
// A kernel that is as near to the least possible time as this has nothing to
// gain; one that is beyond it tells that the roofline is not right.
constexpr double kNearRoofline = 0.97;
constexpr double kBeyondRoofline = 1.03;
// What wins is better by this, and by more than the noise.
constexpr double kLeastGain = 0.01;
constexpr double kStandardErrors = 2;
// Of the turns, those that others interrupted most are not counted.
constexpr double kTurnsForOne = 1.5;
constexpr int kWarmUps = 2;

using Samples = std::vector<double>;  // Nanoseconds.

MeasuredTime TimeOf(Samples samples) {
  MeasuredTime time;
  time.count = static_cast<int64_t>(samples.size());
  if (samples.empty()) return time;
  std::sort(samples.begin(), samples.end());
  const size_t middle = samples.size() / 2;
  time.median = samples.size() % 2 == 1
                    ? samples[middle]
                    : (samples[middle - 1] + samples[middle]) / 2;
  for (double sample : samples) time.mean += sample;
  time.mean /= static_cast<double>(samples.size());
  double squares = 0;
  for (double sample : samples) {
    squares += (sample - time.mean) * (sample - time.mean);
  }
  if (samples.size() > 1) {
    time.stdev = std::sqrt(squares / static_cast<double>(samples.size() - 1));
  }
  return time;
}

double Median(Samples samples) { return TimeOf(std::move(samples)).median; }

// What `b` takes as a part of what `a` took in the same turn.
struct Ratio {
  double median = 1;
  double error = 1;  // The standard error of the median.
};

Ratio RatioOf(const Samples& a, const Samples& b) {
  if (a.size() != b.size() || a.size() < 2) return {};
  Samples ratios;
  for (size_t i = 0; i < a.size(); ++i) {
    ratios.push_back(b[i] / std::max(a[i], 1.0));
  }
  Ratio ratio;
  ratio.median = Median(ratios);
  // From the median of the deviations, which a few outliers do not move; both
  // factors are those of a normal distribution.
  for (double& each : ratios) each = std::abs(each - ratio.median);
  ratio.error = 1.4826 * Median(ratios) * 1.2533 /
                std::sqrt(static_cast<double>(ratios.size()));
  return ratio;
}

bool IsGain(const Ratio& ratio) {
  return ratio.median < 1 - kLeastGain &&
         1 - ratio.median > kStandardErrors * ratio.error;
}

// How often a thread of this process had to leave a processor that it wanted.
int64_t Interruptions() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

// A loaded model with what its runs took.
struct Entrant {
  std::shared_ptr<const Model> model;
  std::vector<KernelReport> kernels;
  std::map<std::string, int> number;  // Of a kernel, by its identity.
  std::vector<Samples> of_kernel;     // By number, all launches of a run.
  Samples of_run;
};

// What one run took.
struct OneRun {
  int64_t interruptions = 0;
  int64_t ns = 0;
  std::vector<int64_t> kernel_ns;
};

class Tuner {
 public:
  Tuner(Engine& engine, const std::shared_ptr<const graph::Graph>& graph,
        const base::CompileOptions& options,
        absl::Span<const TensorView> inputs, const TuneOptions& tune,
        const Progress& progress)
      : engine_(engine),
        graph_(graph),
        options_(options),
        inputs_(inputs),
        tune_(tune),
        progress_(progress) {}

  absl::StatusOr<TuneReport> Run() {
    const int64_t start = telemetry::Clock::NowNs();
    // What is known already is measured anew.
    QUERN_ASSIGN_OR_RETURN(Entrant estimated, Load(base::Choices()));
    QUERN_RETURN_IF_ERROR(PrepareBuffers(*estimated.model));
    QUERN_RETURN_IF_ERROR(Race({&estimated}));
    FindCandidates(estimated);

    for (int round = 0; round < rounds_; ++round) {
      Say(absl::StrCat("measure choice ", round + 1, " of"), round + 1);
      QUERN_RETURN_IF_ERROR(MeasureRound(estimated, round));
    }

    // All winners at once, until each of them still is one.
    base::Choices winners;
    for (const Candidate& candidate : candidates_) {
      if (candidate.best > 0) {
        winners[candidate.identity] = candidate.choices[candidate.best];
      }
    }
    Entrant chosen;
    for (size_t before = winners.size() + 1; winners.size() < before;) {
      before = winners.size();
      Say("confirm choices", rounds_);
      QUERN_ASSIGN_OR_RETURN(chosen, Load(winners));
      QUERN_RETURN_IF_ERROR(Race({&estimated, &chosen}));
      std::erase_if(winners, [&](const auto& winner) {
        return !IsGain(RatioOf(SamplesOf(estimated, winner.first),
                               SamplesOf(chosen, winner.first)));
      });
    }
    std::vector<TunedChoice> kept;
    for (const auto& [kernel, choice] : winners) {
      kept.push_back(
          {"", kernel, choice, Time(estimated, kernel), Time(chosen, kernel)});
    }
    Describe(estimated, chosen);
    if (!kept.empty()) {
      QUERN_RETURN_IF_ERROR(engine_.KeepChoices(options_.device, kept));
    }
    report_.kept = static_cast<int>(kept.size());
    report_.seconds =
        static_cast<double>(telemetry::Clock::NowNs() - start) * 1e-9;
    return std::move(report_);
  }

 private:
  // A kernel with what it could be; the first is the estimate.
  struct Candidate {
    std::string identity;
    std::vector<std::string> choices;
    int best = 0;
    double best_ratio = 1;  // Of its time to that of the first.
  };

  void Say(const std::string& what, int done) {
    if (progress_ != nullptr) progress_(what, done, rounds_);
  }

  // True for those that choices are about: of a request, on the device.
  bool IsTunable(const KernelReport& kernel) const {
    return !kernel.at_load && kernel.device == options_.device;
  }

  absl::StatusOr<Entrant> Load(const base::Choices& choices) {
    base::CompileOptions options = options_;
    options.choices = std::make_shared<base::Choices>(choices);
    Entrant entrant;
    QUERN_ASSIGN_OR_RETURN(entrant.model,
                           engine_.Load(graph_, options, nullptr));
    report_.compiled += entrant.model->compile_report().compiled;
    entrant.kernels = entrant.model->Kernels();
    for (size_t i = 0; i < entrant.kernels.size(); ++i) {
      if (!IsTunable(entrant.kernels[i])) continue;
      entrant.number[entrant.kernels[i].identity] = static_cast<int>(i);
    }
    return entrant;
  }

  absl::Status PrepareBuffers(const Model& model) {
    QUERN_ASSIGN_OR_RETURN(binding_, model.Bind(inputs_));
    for (size_t bytes : binding_.output_bytes) {
      outputs_.emplace_back(bytes, '\0');
      targets_.push_back(outputs_.back().data());
    }
    return absl::OkStatus();
  }

  absl::Status RunOnce(const Entrant& entrant, OneRun& run) {
    if (tune_.cancelled != nullptr && tune_.cancelled()) {
      return absl::CancelledError("the tuning was cancelled");
    }
    const int64_t before = Interruptions();
    const int64_t start = telemetry::Clock::NowNs();
    QUERN_RETURN_IF_ERROR(
        entrant.model
            ->Run(binding_, inputs_, targets_, {.kernel_ns = &run.kernel_ns})
            .status());
    run.ns = telemetry::Clock::NowNs() - start;
    run.interruptions = Interruptions() - before;
    return absl::OkStatus();
  }

  // Runs all of them by turns, in changing order. Counted are the turns that
  // were interrupted least; sample i of each is of the same turn.
  absl::Status Race(const std::vector<Entrant*>& entrants) {
    OneRun run;
    for (Entrant* entrant : entrants) {
      entrant->of_run.clear();
      entrant->of_kernel.assign(entrant->kernels.size(), {});
      for (int i = 0; i < kWarmUps; ++i) {
        QUERN_RETURN_IF_ERROR(RunOnce(*entrant, run));
      }
    }
    struct Turn {
      int64_t interruptions = 0;
      std::vector<OneRun> runs;  // By entrant.
    };
    std::vector<Turn> turns(
        static_cast<size_t>(std::ceil(tune_.runs * kTurnsForOne)));
    for (size_t t = 0; t < turns.size(); ++t) {
      turns[t].runs.resize(entrants.size());
      for (size_t i = 0; i < entrants.size(); ++i) {
        const size_t e = t % 2 == 0 ? i : entrants.size() - 1 - i;
        QUERN_RETURN_IF_ERROR(RunOnce(*entrants[e], turns[t].runs[e]));
        turns[t].interruptions += turns[t].runs[e].interruptions;
      }
    }
    std::stable_sort(turns.begin(), turns.end(),
                     [](const Turn& a, const Turn& b) {
                       return a.interruptions < b.interruptions;
                     });
    report_.interrupted += static_cast<int>(turns.size()) - tune_.runs;
    turns.resize(tune_.runs);
    for (const Turn& turn : turns) {
      for (size_t e = 0; e < entrants.size(); ++e) {
        entrants[e]->of_run.push_back(static_cast<double>(turn.runs[e].ns));
        for (size_t k = 0; k < turn.runs[e].kernel_ns.size(); ++k) {
          entrants[e]->of_kernel[k].push_back(
              static_cast<double>(turn.runs[e].kernel_ns[k]));
        }
      }
    }
    return absl::OkStatus();
  }

  // Of all launches of a kernel in a run; none if it is not there.
  static Samples SamplesOf(const Entrant& entrant,
                           const std::string& identity) {
    const auto it = entrant.number.find(identity);
    if (it == entrant.number.end()) return {};
    return entrant.of_kernel[it->second];
  }
  static MeasuredTime Time(const Entrant& entrant,
                           const std::string& identity) {
    return TimeOf(SamplesOf(entrant, identity));
  }

  void FindCandidates(const Entrant& estimated) {
    const double run = TimeOf(estimated.of_run).median;
    for (const KernelReport& kernel : estimated.kernels) {
      if (!IsTunable(kernel)) continue;
      const double time = Time(estimated, kernel.identity).median;
      const double least = kernel.roofline_seconds * 1e9 * kernel.launches;
      if (kernel.choices.size() < 2 || time < kLeastShare * run ||
          (least > kNearRoofline * time && least < kBeyondRoofline * time)) {
        ++report_.skipped;
        continue;
      }
      Candidate candidate;
      candidate.identity = kernel.identity;
      candidate.choices = kernel.choices;
      const size_t most = static_cast<size_t>(tune_.candidates) + 1;
      if (candidate.choices.size() > most) candidate.choices.resize(most);
      rounds_ =
          std::max(rounds_, static_cast<int>(candidate.choices.size()) - 1);
      candidates_.push_back(std::move(candidate));
    }
  }

  // Gives every kernel its next choice and remembers which are the best so far.
  absl::Status MeasureRound(Entrant& estimated, int round) {
    base::Choices choices;
    const size_t number = static_cast<size_t>(round) + 1;
    for (const Candidate& candidate : candidates_) {
      if (number < candidate.choices.size()) {
        choices[candidate.identity] = candidate.choices[number];
      }
    }
    absl::StatusOr<Entrant> challenger = Load(choices);
    if (absl::IsResourceExhausted(challenger.status()) ||
        absl::IsInternal(challenger.status())) {
      ++report_.failed;
      report_.failure = std::string(challenger.status().message());
      return absl::OkStatus();
    }
    QUERN_RETURN_IF_ERROR(challenger.status());
    QUERN_RETURN_IF_ERROR(Race({&estimated, &*challenger}));
    for (Candidate& candidate : candidates_) {
      if (!choices.contains(candidate.identity)) continue;
      const Ratio ratio = RatioOf(SamplesOf(estimated, candidate.identity),
                                  SamplesOf(*challenger, candidate.identity));
      if (!IsGain(ratio) || ratio.median >= candidate.best_ratio) continue;
      candidate.best = static_cast<int>(number);
      candidate.best_ratio = ratio.median;
    }
    return absl::OkStatus();
  }

  void Describe(const Entrant& estimated, const Entrant& chosen) {
    report_.run_estimated = TimeOf(estimated.of_run);
    report_.run_chosen = TimeOf(chosen.of_run);
    for (const Candidate& candidate : candidates_) {
      const KernelReport& before =
          estimated.kernels[estimated.number.at(candidate.identity)];
      const auto after = chosen.number.find(candidate.identity);
      TunedKernel kernel;
      kernel.name = before.name;
      kernel.summary = before.summary;
      kernel.launches = before.launches;
      kernel.measured = static_cast<int>(candidate.choices.size()) - 1;
      kernel.estimated_as = before.schedule;
      kernel.chosen_as = after == chosen.number.end()
                             ? before.schedule
                             : chosen.kernels[after->second].schedule;
      kernel.estimated = Time(estimated, candidate.identity);
      kernel.chosen = Time(chosen, candidate.identity);
      report_.kernels.push_back(std::move(kernel));
    }
    std::sort(report_.kernels.begin(), report_.kernels.end(),
              [](const TunedKernel& a, const TunedKernel& b) {
                return a.estimated.median > b.estimated.median;
              });
  }

  Engine& engine_;
  const std::shared_ptr<const graph::Graph>& graph_;
  const base::CompileOptions& options_;
  const absl::Span<const TensorView> inputs_;
  const TuneOptions& tune_;
  const Progress& progress_;
  Binding binding_;
  std::vector<std::string> outputs_;
  std::vector<void*> targets_;
  std::vector<Candidate> candidates_;
  int rounds_ = 0;
  TuneReport report_;
};

}  // namespace

absl::StatusOr<TuneReport> Tune(
    Engine& engine, const std::shared_ptr<const graph::Graph>& graph,
    const base::CompileOptions& options, absl::Span<const TensorView> inputs,
    const TuneOptions& tune, const Progress& progress) {
  return Tuner(engine, graph, options, inputs, tune, progress).Run();
}

}  // namespace quern
