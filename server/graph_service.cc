// SPDX-License-Identifier: Apache-2.0
#include "server/graph_service.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/tuner.h"
#include "server/codec.h"
#include "server/import/graph/vocabulary.h"
#include "server/inference.h"
#include "server/model_settings.h"
#include "server/reports.h"
#include "server/submission.h"

namespace quern::server {
namespace {

constexpr int kMaxRuns = 1'000'000;
// The tuner remembers each of them, by kernel.
constexpr int kMaxTuneRuns = 1000;
constexpr int kMaxCandidates = 1000;

// Sends the engine's progress along `stream`.
template <typename Response>
Progress ProgressTo(std::shared_ptr<ResponseStream<Response>> stream) {
  return [stream](absl::string_view what, int done, int of) {
    Response message;
    message.mutable_progress()->set_what(std::string(what));
    message.mutable_progress()->set_done(done);
    message.mutable_progress()->set_of(of);
    stream->SendProgress(std::move(message));
  };
}

// Runs `work` for `owner` on `queue`. What it makes is put into a message by
// `put`, the last one of the stream, which ends with the status of `work`.
template <typename Response, typename Work, typename Put>
void AnswerOn(WorkQueue& queue, const void* owner,
              const std::shared_ptr<ResponseStream<Response>>& stream,
              Work work, Put put) {
  const absl::Status accepted =
      queue.Add(owner, [stream, work = std::move(work), put] {
        auto result = base::NoThrow(work);
        if (result.ok()) {
          Response message;
          put(message, *std::move(result));
          stream->Send(std::move(message));
        }
        stream->End(result.status());
      });
  if (!accepted.ok()) stream->End(accepted);
}

// Puts what was made into the field of that name.
constexpr auto kAsResult = [](auto& message, auto result) {
  *message.mutable_result() = std::move(result);
};
constexpr auto kAsReport = [](auto& message, auto report) {
  *message.mutable_report() = std::move(report);
};

int ThreadsOf(const Engine& engine, const std::string& device) {
  for (const DeviceReport& report : engine.Devices()) {
    if (report.name == device) return report.threads;
  }
  return 0;
}

absl::StatusOr<Stage> StageOf(v1::ExplainStage stage) {
  switch (stage) {
    case v1::EXPLAIN_STAGE_UNSPECIFIED:
    case v1::EXPLAIN_STAGE_GRAPH:
      return Stage::kGraph;
    case v1::EXPLAIN_STAGE_SCHEDULE:
      return Stage::kSchedule;
    case v1::EXPLAIN_STAGE_KERNEL:
      return Stage::kKernel;
    case v1::EXPLAIN_STAGE_SOURCE:
      return Stage::kSource;
    case v1::EXPLAIN_STAGE_ASM:
      return Stage::kAsm;
    case v1::EXPLAIN_STAGE_NOTES:
      return Stage::kNotes;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("the stage ", static_cast<int>(stage), " is not known"));
  }
}

}  // namespace

GraphService::GraphService(const GraphServiceParts& parts)
    : parts_(parts), default_device_(DefaultDevice(*parts.engine)) {}

void GraphService::AddTo(GrpcMethods& methods) {
  const Authorizer* authorizer = parts_.authorizer;
  const auto path = [](const char* method) {
    return absl::StrCat("/", kGraphServiceName, "/", method);
  };
  const auto add = [&](const char* method, auto answer) {
    methods[path(method)] =
        AnswerMethod(authorizer, Access::kGraph, this, answer);
  };
  add("Describe", &GraphService::Describe);
  add("Unpublish", &GraphService::Unpublish);
  add("ExportTuning", &GraphService::ExportTuning);
  add("ImportTuning", &GraphService::ImportTuning);
  add("ListDevices", &GraphService::ListDevices);
  add("DescribeVocabulary", &GraphService::DescribeVocabulary);
  const auto add_stream =
      [&]<typename Request, typename Response>(
          const char* method,
          void (GraphService::*serve)(Request, const StreamPtr<Response>&)) {
        methods[path(method)] = StreamMethod<Request, Response>(
            authorizer, Access::kGraph,
            [this, serve](Request request, const StreamPtr<Response>& stream) {
              (this->*serve)(std::move(request), stream);
            });
      };
  add_stream("Publish", &GraphService::Publish);
  add_stream("Execute", &GraphService::Execute);
  add_stream("Explain", &GraphService::Explain);
  add_stream("Benchmark", &GraphService::Benchmark);
  add_stream("Tune", &GraphService::Tune);
  methods[path("Submit")] = Authorized(
      authorizer, Access::kGraph,
      [this](const std::shared_ptr<GrpcCall>& call) {
        return StartSubmission({.graphs = parts_.graphs,
                                .loads = parts_.loads,
                                .max_graph_bytes = parts_.max_graph_bytes,
                                .max_graph_nodes = parts_.max_graph_nodes},
                               call);
      });
}

absl::StatusOr<Found> GraphService::FindSubject(const v1::Subject& subject) {
  return server::FindSubject(subject, default_device_, *parts_.models,
                             *parts_.graphs);
}

absl::StatusOr<GraphStore::Load> GraphService::Load(const v1::Subject& subject,
                                                    const Progress& progress) {
  QUERN_ASSIGN_OR_RETURN(const Found found, FindSubject(subject));
  if (found.model != nullptr) return GraphStore::Load{found.model, false};
  return parts_.graphs->FindOrLoad(found.digest, found.options, progress);
}

absl::Status GraphService::Describe(const v1::DescribeRequest& request,
                                    v1::DescribeResponse& response) {
  const absl::StatusOr<Found> found = FindSubject(request.subject());
  if (!found.ok()) return found.status();
  const graph::Graph& graph = *found->graph;
  const GraphSize size = SizeOf(graph);
  response.set_nodes(size.nodes);
  response.set_weights(size.weights);
  response.set_weight_bytes(size.weight_bytes);
  if (found->model == nullptr) {
    for (const TensorSpec& spec : SpecsOf(graph, graph.inputs)) {
      *response.add_inputs() = ToProto(spec);
    }
    for (const TensorSpec& spec : SpecsOf(graph, graph.outputs)) {
      *response.add_outputs() = ToProto(spec);
    }
    return absl::OkStatus();
  }
  const Model& model = found->model->model();
  for (const TensorSpec& spec : model.inputs()) {
    *response.add_inputs() = ToProto(spec);
  }
  for (const TensorSpec& spec : model.outputs()) {
    *response.add_outputs() = ToProto(spec);
  }
  response.set_loaded(true);
  response.set_device(model.device());
  *response.mutable_load() = ToProto(model.compile_report());
  for (const Note& note : model.notes()) *response.add_notes() = ToProto(note);
  return absl::OkStatus();
}

void GraphService::Publish(v1::PublishRequest request,
                           const StreamPtr<v1::PublishResponse>& stream) {
  AnswerOn(
      *parts_.loads, nullptr, stream,
      [this, stream, request = std::move(request)] {
        return PublishGraph(request, ProgressTo(stream));
      },
      kAsResult);
}

absl::StatusOr<v1::PublishResult> GraphService::PublishGraph(
    const v1::PublishRequest& request, const Progress& progress) {
  QUERN_RETURN_IF_ERROR(CheckModelName(request.model().name()));
  int64_t version = 0;
  if (!request.model().version().empty()) {
    QUERN_ASSIGN_OR_RETURN(version, ParseVersion(request.model().version()));
  }
  v1::Subject subject;
  subject.set_graph_id(request.graph_id());
  if (request.has_settings()) *subject.mutable_settings() = request.settings();
  QUERN_ASSIGN_OR_RETURN(const Found found, FindSubject(subject));
  const std::string& name = request.model().name();
  QUERN_ASSIGN_OR_RETURN(version, parts_.models->BeginLoad(name, version));
  const auto loaded = base::NoThrow(
      [&]() -> absl::StatusOr<std::shared_ptr<const LoadedModel>> {
        QUERN_ASSIGN_OR_RETURN(
            const std::shared_ptr<const Model> model,
            parts_.engine->Load(found.graph, found.options, progress));
        QUERN_ASSIGN_OR_RETURN(inference::ModelConfig config,
                               CompleteConfig({}, name, *model));
        return std::make_shared<const LoadedModel>(name, version, found.graph,
                                                   found.options, model,
                                                   std::move(config));
      });
  parts_.models->EndLoad(name, version, loaded);
  QUERN_RETURN_IF_ERROR(loaded.status());
  const Model& model = (*loaded)->model();
  v1::PublishResult result;
  result.mutable_model()->set_name(name);
  result.mutable_model()->set_version(absl::StrCat(version));
  *result.mutable_load() = ToProto(model.compile_report());
  for (const Note& note : model.notes()) {
    *result.add_notes() = ToProto(note);
  }
  return result;
}

absl::Status GraphService::Unpublish(const v1::UnpublishRequest& request,
                                     v1::UnpublishResponse&) {
  const auto version = ParseVersion(request.model().version());
  if (!version.ok()) return version.status();
  return parts_.models->Remove(request.model().name(), *version);
}

void GraphService::Execute(v1::ExecuteRequest request,
                           const StreamPtr<v1::ExecuteResponse>& stream) {
  const absl::StatusOr<Found> found = FindSubject(request.subject());
  if (!found.ok()) {
    stream->End(found.status());
    return;
  }
  // What has to be loaded first does not stand in the way of other requests.
  WorkQueue& queue = found->model == nullptr ? *parts_.loads : *parts_.requests;
  AnswerOn(
      queue, found->model.get(), stream,
      [this, stream,
       request = std::move(request)]() -> absl::StatusOr<v1::ExecuteResult> {
        if (stream->call().cancelled()) {
          return absl::CancelledError("the client has gone");
        }
        return Run(request, stream->call(), ProgressTo(stream));
      },
      kAsResult);
}

absl::StatusOr<v1::ExecuteResult> GraphService::Run(
    const v1::ExecuteRequest& request, const Call& call,
    const Progress& progress) {
  QUERN_ASSIGN_OR_RETURN(const GraphStore::Load load,
                         Load(request.subject(), progress));
  QUERN_ASSIGN_OR_RETURN(
      const auto ticket,
      parts_.admission->Enter(load.model,
                              static_cast<int64_t>(request.ByteSizeLong())));
  const int64_t start_ns = telemetry::Clock::NowNs();
  const Model& model = load.model->model();
  v1::ExecuteResult result;
  RequestTimes times;
  // A load is no part of what requests take.
  times[Phase::kQueue] = load.loaded_now ? 0 : start_ns - call.arrival_ns;
  RunTimes ran;
  const absl::Status status = [&]() -> absl::Status {
    QUERN_ASSIGN_OR_RETURN(const Inputs inputs,
                           DecodeInputs(request.inputs(), model.inputs()));
    QUERN_ASSIGN_OR_RETURN(
        std::vector<int> selected,
        SelectOutputs({request.outputs().begin(), request.outputs().end()},
                      model.outputs()));
    QUERN_ASSIGN_OR_RETURN(const PreparedRun run,
                           Prepare(model, inputs.views, std::move(selected),
                                   parts_.max_message_bytes));
    std::vector<std::string*> targets;
    for (int index : run.selected) {
      const TensorSpec& spec = model.outputs()[index];
      v1::NamedTensor* output = result.add_outputs();
      output->set_name(spec.name);
      output->mutable_tensor()->set_data_type(ToProto(spec.dtype));
      for (int64_t dim : run.binding.output_dims[index]) {
        output->mutable_tensor()->add_dims(dim);
      }
      targets.push_back(output->mutable_tensor()->mutable_data());
    }
    const int64_t ready_ns = telemetry::Clock::NowNs();
    times[Phase::kInput] = ready_ns - start_ns;
    QUERN_ASSIGN_OR_RETURN(
        ran, RunInto(model, run, inputs.views, targets,
                     {.deadline = call.deadline, .cancelled = call.cancelled}));
    times[Phase::kQueue] += ran.queue_ns;
    times[Phase::kExecute] = ran.execute_ns;
    times[Phase::kOutput] =
        telemetry::Clock::NowNs() - ready_ns - ran.queue_ns - ran.execute_ns;
    load.model->CountExecution({.times = times});
    return absl::OkStatus();
  }();
  for (int64_t ns : times.phase) times.total_ns += ns;
  load.model->CountRequest(status.code(), times);
  QUERN_RETURN_IF_ERROR(status);
  *result.mutable_queue_time() = DurationOf(times[Phase::kQueue]);
  *result.mutable_execute_time() = DurationOf(ran.execute_ns);
  result.set_loaded_now(load.loaded_now);
  if (load.loaded_now) {
    *result.mutable_load() = ToProto(model.compile_report());
  }
  return result;
}

void GraphService::Explain(v1::ExplainRequest request,
                           const StreamPtr<v1::ExplainResponse>& stream) {
  AnswerOn(
      *parts_.loads, nullptr, stream,
      [this, stream, request = std::move(request)] {
        return ExplainStage(request, ProgressTo(stream));
      },
      [](v1::ExplainResponse& message, std::string text) {
        message.set_text(std::move(text));
      });
}

absl::StatusOr<std::string> GraphService::ExplainStage(
    const v1::ExplainRequest& request, const Progress& progress) {
  QUERN_ASSIGN_OR_RETURN(const Stage stage, StageOf(request.stage()));
  QUERN_ASSIGN_OR_RETURN(const GraphStore::Load load,
                         Load(request.subject(), progress));
  QUERN_ASSIGN_OR_RETURN(std::string text,
                         load.model->model().Explain(stage, request.kernel()));
  if (static_cast<int64_t>(text.size()) > parts_.max_message_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the text has ", text.size(), " bytes, name one kernel to get less"));
  }
  return text;
}

void GraphService::Benchmark(v1::BenchmarkRequest request,
                             const StreamPtr<v1::BenchmarkResponse>& stream) {
  AnswerOn(
      *parts_.measurements, nullptr, stream,
      [this, stream, request = std::move(request)] {
        return Measure(request, *stream, ProgressTo(stream));
      },
      kAsReport);
}

absl::StatusOr<v1::BenchmarkReport> GraphService::Measure(
    const v1::BenchmarkRequest& request,
    const ResponseStream<v1::BenchmarkResponse>& stream,
    const Progress& progress) {
  if (request.runs() < 1 || request.runs() > kMaxRuns || request.warmup() < 0 ||
      request.warmup() > kMaxRuns) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected 1 to ", kMaxRuns, " runs and 0 to ", kMaxRuns,
        " before them, got ", request.runs(), " and ", request.warmup()));
  }
  QUERN_ASSIGN_OR_RETURN(const Found found, FindSubject(request.subject()));
  v1::BenchmarkReport report;
  std::shared_ptr<const Model> model;
  if (request.subject().kind_case() == v1::Subject::kModel) {
    // What is served is measured as it is.
    model = {found.model, &found.model->model()};
  } else {
    // Two loads of its own: the first one is cold if the caches are, the second
    // one cannot be.
    QUERN_ASSIGN_OR_RETURN(
        model, parts_.engine->Load(found.graph, found.options, progress));
    if (model->compile_report().compiled > 0) {
      *report.mutable_cold_load() = ToProto(model->compile_report());
    }
    QUERN_ASSIGN_OR_RETURN(
        model, parts_.engine->Load(found.graph, found.options, progress));
  }
  *report.mutable_cached_load() = ToProto(model->compile_report());

  QUERN_ASSIGN_OR_RETURN(const Inputs inputs,
                         DecodeInputs(request.inputs(), model->inputs()));
  QUERN_ASSIGN_OR_RETURN(std::vector<int> all,
                         SelectOutputs({}, model->outputs()));
  QUERN_ASSIGN_OR_RETURN(
      const PreparedRun run,
      Prepare(*model, inputs.views, std::move(all), parts_.max_message_bytes));
  std::vector<std::string> outputs(run.selected.size());
  std::vector<void*> targets;
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].resize(run.binding.output_bytes[i]);
    targets.push_back(outputs[i].data());
  }
  std::vector<double> milliseconds;
  milliseconds.reserve(request.runs());
  absl::Time last_progress = absl::Now();
  const int total = request.warmup() + request.runs();
  for (int i = 0; i < total; ++i) {
    if (stream.cancelled()) return absl::CancelledError("the client has gone");
    if (i == request.warmup()) model->ResetStatistics();
    const int64_t begin_ns = telemetry::Clock::NowNs();
    QUERN_RETURN_IF_ERROR(model
                              ->Run(run.binding, inputs.views, targets,
                                    {.deadline = stream.call().deadline})
                              .status());
    const int64_t end_ns = telemetry::Clock::NowNs();
    if (i >= request.warmup()) {
      milliseconds.push_back(static_cast<double>(end_ns - begin_ns) * 1e-6);
    }
    if (absl::Now() - last_progress > absl::Milliseconds(500)) {
      last_progress = absl::Now();
      progress(i < request.warmup() ? "warm up" : "run", i + 1, total);
    }
  }
  report.set_device(model->device());
  report.set_threads(ThreadsOf(*parts_.engine, model->device()));
  report.set_runs(request.runs());
  *report.mutable_engine_ms() = LatencyOf(std::move(milliseconds));
  for (v1::KernelStatistics& kernel :
       ToProto(model->Kernels(), model->notes())) {
    *report.add_kernels() = std::move(kernel);
  }
  for (const Note& note : model->notes()) *report.add_notes() = ToProto(note);
  return report;
}

void GraphService::Tune(v1::TuneRequest request,
                        const StreamPtr<v1::TuneResponse>& stream) {
  AnswerOn(
      *parts_.measurements, nullptr, stream,
      [this, stream, request = std::move(request)] {
        return TuneKernels(request, *stream, ProgressTo(stream));
      },
      kAsReport);
}

absl::StatusOr<v1::TuneReport> GraphService::TuneKernels(
    const v1::TuneRequest& request,
    const ResponseStream<v1::TuneResponse>& stream, const Progress& progress) {
  if (request.runs() < 0 || request.runs() > kMaxTuneRuns ||
      request.candidates() < 0 || request.candidates() > kMaxCandidates) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected at most ", kMaxTuneRuns, " runs and ", kMaxCandidates,
        " candidates, got ", request.runs(), " and ", request.candidates()));
  }
  QUERN_ASSIGN_OR_RETURN(const Found found, FindSubject(request.subject()));
  TuneOptions options;
  if (request.runs() > 0) options.runs = request.runs();
  if (request.candidates() > 0) options.candidates = request.candidates();
  options.cancelled = [&stream] {
    return stream.cancelled() || absl::Now() > stream.call().deadline;
  };
  // What the inputs are called and in which order, a loaded model tells.
  std::shared_ptr<const Model> model;
  if (found.model != nullptr) {
    model = {found.model, &found.model->model()};
  } else {
    QUERN_ASSIGN_OR_RETURN(
        model, parts_.engine->Load(found.graph, found.options, progress));
  }
  QUERN_ASSIGN_OR_RETURN(const Inputs inputs,
                         DecodeInputs(request.inputs(), model->inputs()));
  // As in a request: within the limits, and of the model's shapes.
  QUERN_ASSIGN_OR_RETURN(std::vector<int> all,
                         SelectOutputs({}, model->outputs()));
  QUERN_RETURN_IF_ERROR(
      Prepare(*model, inputs.views, std::move(all), parts_.max_message_bytes)
          .status());
  model = nullptr;  // Its memory is for those that are measured.
  QUERN_ASSIGN_OR_RETURN(const TuneReport tuned,
                         quern::Tune(*parts_.engine, found.graph, found.options,
                                     inputs.views, options, progress));
  v1::TuneReport report = ToProto(tuned);
  report.set_device(found.options.device);
  report.set_threads(ThreadsOf(*parts_.engine, found.options.device));
  return report;
}

absl::Status GraphService::ExportTuning(const v1::ExportTuningRequest&,
                                        v1::ExportTuningResponse& response) {
  response.set_text(parts_.engine->tuning().Export());
  if (static_cast<int64_t>(response.ByteSizeLong()) >
      parts_.max_message_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the table has ", response.text().size(),
                     " bytes, copy the file tuning.tsv from the cache folder"));
  }
  return absl::OkStatus();
}

absl::Status GraphService::ImportTuning(const v1::ImportTuningRequest& request,
                                        v1::ImportTuningResponse& response) {
  QUERN_ASSIGN_OR_RETURN(const int choices,
                         parts_.engine->tuning().Import(request.text()));
  response.set_choices(choices);
  return absl::OkStatus();
}

absl::Status GraphService::ListDevices(const v1::ListDevicesRequest&,
                                       v1::ListDevicesResponse& response) {
  for (const DeviceReport& device : parts_.engine->Devices()) {
    *response.add_devices() = ToProto(device);
  }
  return absl::OkStatus();
}

absl::Status GraphService::DescribeVocabulary(
    const v1::DescribeVocabularyRequest&,
    v1::DescribeVocabularyResponse& response) {
  for (const graph_import::Entry& entry : graph_import::Vocabulary()) {
    v1::VocabularyEntry* proto = response.add_entries();
    proto->set_op(entry.op);
    proto->set_meaning(entry.meaning);
    proto->set_least_operands(entry.least_operands);
    proto->set_greatest_operands(entry.greatest_operands);
    proto->set_results(entry.one_result ? 1 : -1);
    for (const graph_import::Parameter& parameter : entry.parameters) {
      v1::VocabularyEntry::Parameter* p = proto->add_parameters();
      p->set_name(parameter.name);
      p->set_type(graph_import::Name(parameter.type));
      p->set_optional(parameter.optional);
    }
  }
  return absl::OkStatus();
}

}  // namespace quern::server
