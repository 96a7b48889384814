// SPDX-License-Identifier: Apache-2.0
#include "server/v2_handlers.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <spdlog/spdlog.h>

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "server/codec.h"
#include "server/inference.h"
#include "server/log.h"
#include "server/quoted.h"
#include "server/version.h"

namespace quern::server {
namespace {

constexpr char kTimingParameter[] = "quern_timing";
constexpr size_t kTopKernels = 5;
// What takes no longer is not worth the way to another thread, and keeps the
// thread that brought it from others for no time that they would notice.
constexpr int64_t kShortNs = 200'000;

void Describe(const TensorSpec& spec,
              inference::ModelMetadataResponse::TensorMetadata* metadata) {
  metadata->set_name(spec.name);
  metadata->set_datatype(V2Name(spec.dtype));
  for (int64_t dim : spec.dims) metadata->add_shape(dim);
}

// The earlier of the client's deadline and the request's own "timeout", which
// is in microseconds.
absl::Time DeadlineOf(const Call& call,
                      const inference::ModelInferRequest& request) {
  const auto timeout = request.parameters().find("timeout");
  if (timeout == request.parameters().end()) return call.deadline;
  const int64_t us = std::max(timeout->second.int64_param(),
                              static_cast<int64_t>(std::min<uint64_t>(
                                  timeout->second.uint64_param(), INT64_MAX)));
  if (us <= 0) return call.deadline;
  const int64_t spent_ns = telemetry::Clock::NowNs() - call.arrival_ns;
  return std::min(call.deadline, absl::Now() + absl::Microseconds(us) -
                                     absl::Nanoseconds(spent_ns));
}

bool WantsTiming(const inference::ModelInferRequest& request) {
  const auto it = request.parameters().find(kTimingParameter);
  return it != request.parameters().end() && it->second.bool_param();
}

// Writes where the time went into the response's parameters: nanoseconds by
// phase, and the kernels that took most as "NAME NS, NAME NS, ..".
void AddTiming(const RequestTimes& times, const Model& model,
               const std::vector<int64_t>& kernel_ns,
               inference::ModelInferResponse& response) {
  auto& parameters = *response.mutable_parameters();
  for (size_t i = 0; i < kPhases; ++i) {
    const Phase phase = static_cast<Phase>(i);
    parameters[absl::StrCat("quern_", NameOf(phase), "_ns")].set_int64_param(
        times[phase]);
  }
  const std::vector<std::string>& kernels = model.kernel_names();
  std::vector<std::pair<int64_t, std::string>> top;
  for (size_t i = 0; i < kernel_ns.size() && i < kernels.size(); ++i) {
    if (kernel_ns[i] > 0) top.emplace_back(kernel_ns[i], kernels[i]);
  }
  std::sort(top.rbegin(), top.rend());
  if (top.size() > kTopKernels) top.resize(kTopKernels);
  std::string text;
  for (const auto& [ns, name] : top) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", name, " ", ns);
  }
  parameters["quern_kernels"].set_string_param(text);
}

void Set(const telemetry::Distribution& time,
         inference::StatisticDuration* out) {
  out->set_count(time.count());
  out->set_ns(static_cast<uint64_t>(time.sum_ns()));
}

void Set(uint64_t count, int64_t ns, inference::StatisticDuration* out) {
  out->set_count(count);
  out->set_ns(static_cast<uint64_t>(ns));
}

void Describe(const LoadedModel& loaded, inference::ModelStatistics* out) {
  const ModelStatistics statistics = loaded.Statistics();
  out->set_name(loaded.name());
  out->set_version(absl::StrCat(loaded.version()));
  out->set_last_inference(static_cast<uint64_t>(statistics.last_inference_ms));
  out->set_inference_count(statistics.inferences);
  out->set_execution_count(statistics.executions);
  const auto phase = [&](Phase p) -> const telemetry::Distribution& {
    return statistics.phase[static_cast<size_t>(p)];
  };
  inference::InferStatistics* times = out->mutable_inference_stats();
  Set(statistics.success, times->mutable_success());
  Set(statistics.failure, times->mutable_fail());
  Set(phase(Phase::kQueue), times->mutable_queue());
  Set(phase(Phase::kInput), times->mutable_compute_input());
  Set(phase(Phase::kExecute), times->mutable_compute_infer());
  Set(phase(Phase::kOutput), times->mutable_compute_output());
  for (const auto& [rows, batch] : statistics.by_batch) {
    inference::InferBatchStatistics* b = out->add_batch_stats();
    b->set_batch_size(static_cast<uint64_t>(rows));
    const auto ns = [&](Phase p) {
      return batch.phase_ns[static_cast<size_t>(p)];
    };
    Set(batch.count, ns(Phase::kInput), b->mutable_compute_input());
    Set(batch.count, ns(Phase::kExecute), b->mutable_compute_infer());
    Set(batch.count, ns(Phase::kOutput), b->mutable_compute_output());
  }
  const CompileReport& report = loaded.model().compile_report();
  inference::MemoryUsage* memory = out->add_memory_usage();
  memory->set_type(absl::StrCat("weights on ", loaded.model().device()));
  memory->set_byte_size(static_cast<uint64_t>(report.weight_bytes));
}

std::vector<std::string> NamesOf(const inference::ModelInferRequest& request) {
  std::vector<std::string> names;
  for (const auto& output : request.outputs()) names.push_back(output.name());
  return names;
}

// Adds an output to the response; where its bytes go.
std::string* AddOutput(const TensorSpec& spec, const std::vector<int64_t>& dims,
                       inference::ModelInferResponse& response) {
  inference::ModelInferResponse::InferOutputTensor* output =
      response.add_outputs();
  output->set_name(spec.name);
  output->set_datatype(V2Name(spec.dtype));
  for (int64_t dim : dims) output->add_shape(dim);
  return response.add_raw_output_contents();
}

// OK for "all regions".
absl::Status NoRegion(const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("there is no shared memory region ", Quoted(name)));
}

}  // namespace

struct V2Handlers::Inference {
  const Call call;
  const std::shared_ptr<const LoadedModel> loaded;
  const inference::ModelInferRequest& request;
  inference::ModelInferResponse& response;
  const Done done;
  std::shared_ptr<Admission::Ticket> ticket = nullptr;
  int64_t ready_ns = 0;  // When it was ready to run.
  RequestTimes times = {};
  std::vector<int64_t> kernel_ns = {};  // If the request asks for it.
  int64_t rows = 1;
  int64_t bytes = 0;  // Of the request.
};

V2Handlers::V2Handlers(const V2Parts& parts)
    : parts_(parts),
      in_flight_(
          parts.metrics->GetNumber(telemetry::Metric::kRequestsInFlight)) {}

void V2Handlers::ServerLive(const Call&, const inference::ServerLiveRequest&,
                            inference::ServerLiveResponse& response,
                            Done done) {
  response.set_live(true);
  done(absl::OkStatus());
}

void V2Handlers::ServerReady(const Call&, const inference::ServerReadyRequest&,
                             inference::ServerReadyResponse& response,
                             Done done) {
  response.set_ready(ready());
  done(absl::OkStatus());
}

void V2Handlers::ModelReady(const Call&,
                            const inference::ModelReadyRequest& request,
                            inference::ModelReadyResponse& response,
                            Done done) {
  // As from Triton, no is an answer, whatever the reason, which is in the
  // index: clients ask until it is yes.
  response.set_ready(
      parts_.models->Find(request.name(), request.version()).ok());
  done(absl::OkStatus());
}

void V2Handlers::ServerMetadata(const Call&,
                                const inference::ServerMetadataRequest&,
                                inference::ServerMetadataResponse& response,
                                Done done) {
  response.set_name(kServerName);
  response.set_version(kVersion);
  for (const char* extension :
       {"model_repository", "model_configuration", "binary_tensor_data",
        "parameters", "statistics", "logging"}) {
    response.add_extensions(extension);
  }
  done(absl::OkStatus());
}

void V2Handlers::ModelMetadata(const Call&,
                               const inference::ModelMetadataRequest& request,
                               inference::ModelMetadataResponse& response,
                               Done done) {
  const auto found = parts_.models->Find(request.name(), request.version());
  if (!found.ok()) {
    done(found.status());
    return;
  }
  response.set_name(found->name);
  for (const ModelVersion& version : parts_.models->List()) {
    if (version.name == found->name && version.loaded != nullptr) {
      response.add_versions(absl::StrCat(version.version));
    }
  }
  response.set_platform("quern");
  const Model& model = found->loaded->model();
  for (const TensorSpec& spec : model.inputs()) {
    Describe(spec, response.add_inputs());
  }
  for (const TensorSpec& spec : model.outputs()) {
    Describe(spec, response.add_outputs());
  }
  done(absl::OkStatus());
}

void V2Handlers::ModelInfer(const Call& call,
                            const inference::ModelInferRequest& request,
                            inference::ModelInferResponse& response,
                            Done done) {
  const auto found = FindAsked(request.model_name(), request.model_version());
  if (!found.ok()) {
    done(found.status());
    return;
  }
  const auto inference = std::make_shared<Inference>(
      Inference{call, found->loaded, request, response, std::move(done)});
  inference->bytes = static_cast<int64_t>(request.ByteSizeLong());
  auto ticket = parts_.admission->Enter(found->loaded, inference->bytes);
  in_flight_->Add(1);
  if (!ticket.ok()) {
    End(*inference, ticket.status());
    return;
  }
  inference->ticket = *std::move(ticket);
  if (EnterFastLane(*inference)) {
    const absl::Cleanup leave = [this] { LeaveFastLane(); };
    Infer(inference);
    return;
  }
  const absl::Status accepted = Queue(*parts_.requests, *found->loaded,
                                      [this, inference] { Infer(inference); });
  if (!accepted.ok()) End(*inference, accepted);
}

absl::Status V2Handlers::Defer(const std::string& model,
                               const std::string& version,
                               std::function<void()> work) {
  QUERN_ASSIGN_OR_RETURN(const ModelVersion found, FindAsked(model, version));
  return Queue(*parts_.decodes, *found.loaded, std::move(work));
}

absl::Status V2Handlers::DeferLoad(std::function<void()> work) {
  return parts_.loads->Add(nullptr, std::move(work));
}

absl::StatusOr<ModelVersion> V2Handlers::FindAsked(const std::string& model,
                                                   const std::string& version) {
  auto found = parts_.models->Find(model, version);
  if (!found.ok()) {
    // Not under the name that the client made up: labels stay bounded.
    parts_.metrics->Add(telemetry::Metric::kRequests,
                        {"_unknown", CodeName(found.status().code())});
  }
  return found;
}

absl::Status V2Handlers::Queue(WorkQueue& queue, const LoadedModel& model,
                               std::function<void()> work) {
  absl::Status accepted = queue.Add(&model, std::move(work));
  if (!accepted.ok()) {
    parts_.metrics->Add(telemetry::Metric::kRejectedRequests,
                        {absl::IsUnavailable(accepted) ? "draining" : "limit"});
  }
  return accepted;
}

bool V2Handlers::EnterFastLane(const Inference& inference) {
  const LoadedModel& loaded = *inference.loaded;
  return loaded.batcher() == nullptr && loaded.pending() == 1 &&
         !loaded.model().busy() && loaded.IsShort(inference.bytes, kShortNs) &&
         !fast_lane_.test_and_set(std::memory_order_acquire);
}

void V2Handlers::Infer(const std::shared_ptr<Inference>& inference) {
  absl::StatusOr<BatchItem> item =
      base::NoThrow([&] { return MakeReady(*inference); });
  if (!item.ok()) {
    End(*inference, item.status());
    return;
  }
  Batcher* const batcher = inference->loaded->batcher();
  if (batcher == nullptr) {
    const auto report = RunAlone(inference->loaded->model(), *item);
    if (report.ok()) Complete(*inference, *report);
    End(*inference, report.status());
    return;
  }
  item->done = [this, inference](const absl::Status& status,
                                 const BatchReport& report) {
    if (status.ok()) Complete(*inference, report);
    End(*inference, status);
  };
  const absl::Status joined = batcher->Join(*std::move(item));
  if (!joined.ok()) End(*inference, joined);
}

absl::StatusOr<BatchItem> V2Handlers::MakeReady(Inference& inference) const {
  const int64_t start_ns = telemetry::Clock::NowNs();
  const Call& call = inference.call;
  const auto& request = inference.request;
  const Model& model = inference.loaded->model();
  inference.times[Phase::kQueue] = start_ns - call.arrival_ns;
  if (call.cancelled()) return absl::CancelledError("the client has gone");
  BatchItem item;
  item.deadline = DeadlineOf(call, request);
  item.cancelled = call.cancelled;
  if (absl::Now() >= item.deadline) {
    return absl::DeadlineExceededError(
        "the deadline passed before the request was run");
  }
  QUERN_RETURN_IF_ERROR(CheckParameters(request));
  QUERN_ASSIGN_OR_RETURN(item.inputs, DecodeInputs(request, model.inputs()));
  QUERN_ASSIGN_OR_RETURN(std::vector<int> selected,
                         SelectOutputs(NamesOf(request), model.outputs()));
  QUERN_ASSIGN_OR_RETURN(item.run,
                         Prepare(model, item.inputs.views, std::move(selected),
                                 parts_.max_message_bytes));
  for (int index : item.run.selected) {
    item.targets.push_back(AddOutput(model.outputs()[index],
                                     item.run.binding.output_dims[index],
                                     inference.response));
  }
  if (WantsTiming(request)) item.kernel_ns = &inference.kernel_ns;
  if (inference.loaded->batcher() != nullptr) inference.rows = RowsOf(item);
  inference.ready_ns = telemetry::Clock::NowNs();
  inference.times[Phase::kInput] = inference.ready_ns - start_ns;
  return item;
}

void V2Handlers::Complete(Inference& inference, const BatchReport& report) {
  RequestTimes& times = inference.times;
  times[Phase::kQueue] +=
      report.start_ns - inference.ready_ns + report.ran.queue_ns;
  times[Phase::kInput] += report.input_ns;
  times[Phase::kExecute] = report.ran.execute_ns;
  times[Phase::kOutput] = report.output_ns;
  const LoadedModel& loaded = *inference.loaded;
  inference::ModelInferResponse& response = inference.response;
  response.set_model_name(loaded.name());
  response.set_model_version(absl::StrCat(loaded.version()));
  response.set_id(inference.request.id());
  if (WantsTiming(inference.request)) {
    AddTiming(times, loaded.model(), inference.kernel_ns, response);
  }
  loaded.LearnTime(
      inference.bytes,
      times[Phase::kInput] + times[Phase::kExecute] + times[Phase::kOutput]);
  if (!report.leads) return;
  loaded.CountExecution({.rows = report.rows,
                         .requests = report.requests,
                         .flush = report.flush,
                         .times = times});
}

void V2Handlers::End(Inference& inference, const absl::Status& status) {
  inference.times.total_ns =
      telemetry::Clock::NowNs() - inference.call.arrival_ns;
  inference.loaded->CountRequest(status.code(), inference.times,
                                 inference.rows);
  LogRequest(inference.loaded->label(), inference.request.id(), status,
             inference.times);
  in_flight_->Add(-1);
  // The answer's end frees the request, so its place goes first.
  inference.ticket.reset();
  inference.done(status);
}

void V2Handlers::ModelConfig(const Call&,
                             const inference::ModelConfigRequest& request,
                             inference::ModelConfigResponse& response,
                             Done done) {
  const auto found = parts_.models->Find(request.name(), request.version());
  if (found.ok()) *response.mutable_config() = found->loaded->config();
  done(found.status());
}

void V2Handlers::ModelStatistics(
    const Call&, const inference::ModelStatisticsRequest& request,
    inference::ModelStatisticsResponse& response, Done done) {
  absl::Status status;
  if (!request.name().empty()) {
    // Of all versions unless one is named; an unknown name is an error.
    status = parts_.models->Find(request.name(), request.version()).status();
  }
  if (status.ok()) {
    for (const ModelVersion& version : parts_.models->List()) {
      if (version.loaded == nullptr) continue;
      if (!request.name().empty() && request.name() != version.name) continue;
      if (!request.version().empty() &&
          request.version() != absl::StrCat(version.version)) {
        continue;
      }
      Describe(*version.loaded, response.add_model_stats());
    }
  }
  done(status);
}

void V2Handlers::RepositoryIndex(
    const Call&, const inference::RepositoryIndexRequest& request,
    inference::RepositoryIndexResponse& response, Done done) {
  std::map<std::string, bool> seen;
  for (const ModelVersion& version : parts_.models->List()) {
    seen[version.name] = true;
    if (request.ready() && version.loaded == nullptr) continue;
    auto* model = response.add_models();
    model->set_name(version.name);
    model->set_version(absl::StrCat(version.version));
    model->set_state(version.state);
    model->set_reason(version.reason);
  }
  if (!request.ready()) {
    for (const std::string& name : parts_.repository->Names()) {
      if (seen.contains(name)) continue;
      auto* model = response.add_models();
      model->set_name(name);
      model->set_state("UNAVAILABLE");
      model->set_reason("not loaded");
    }
  }
  done(absl::OkStatus());
}

void V2Handlers::Control(
    const std::string& repository_name, const std::string& model_name,
    Done done, std::function<absl::Status(const std::string& name)> work) {
  const std::string& name = model_name.empty() ? repository_name : model_name;
  if (!parts_.loads_allowed) {
    done(absl::FailedPreconditionError(
        "models follow the repository (--model-control-mode poll), they are "
        "not loaded and unloaded by requests"));
    return;
  }
  const absl::Status accepted = parts_.loads->Add(
      nullptr, [name, done, work = std::move(work)] { done(work(name)); });
  if (!accepted.ok()) done(accepted);
}

void V2Handlers::RepositoryModelLoad(
    const Call&, const inference::RepositoryModelLoadRequest& request,
    inference::RepositoryModelLoadResponse& response, Done done) {
  std::optional<LoadOverride> override;
  for (const auto& [key, value] : request.parameters()) {
    if (key == "config") {
      if (!override.has_value()) override.emplace();
      override->config_json = value.string_param();
      continue;
    }
    absl::string_view path = key;
    std::string version_text;
    if (absl::ConsumePrefix(&path, "file:")) {
      // A version and a name to know the content by; never a path to open.
      const size_t slash = path.find('/');
      const absl::StatusOr<int64_t> version =
          ParseVersion(std::string(path.substr(0, slash)));
      if (version.ok() && slash != absl::string_view::npos &&
          path.substr(slash + 1) == "model.onnx") {
        if (!override.has_value()) override.emplace();
        // The request lives until the load is done.
        override->files[*version] = value.bytes_param().empty()
                                        ? value.string_param()
                                        : value.bytes_param();
        continue;
      }
    }
    done(absl::InvalidArgumentError(absl::StrCat(
        "the load has a parameter that is not known; expected \"config\" and "
        "\"file:VERSION/model.onnx\", got ",
        Quoted(key))));
    return;
  }
  if (override.has_value() && override->config_json.empty() &&
      !override->files.empty()) {
    done(absl::InvalidArgumentError(
        "a load with files needs the parameter \"config\" too, at least "
        "\"{}\""));
    return;
  }
  // Its files are held until the load is done; whoever is told so may send
  // others.
  const auto room = std::make_shared<Admission::Bytes>(parts_.admission);
  if (absl::Status full =
          room->Take(static_cast<int64_t>(request.ByteSizeLong()));
      !full.ok()) {
    done(full);
    return;
  }
  const auto release = [room, done = std::move(done)](const absl::Status& end) {
    room->Release();
    done(end);
  };
  Control(request.repository_name(), request.model_name(), release,
          [this, override = std::move(override),
           &response](const std::string& name) {
            QUERN_RETURN_IF_ERROR(parts_.repository->Load(name, override));
            response.set_model_name(name);
            response.set_is_loaded(true);
            return absl::OkStatus();
          });
}

void V2Handlers::RepositoryModelUnload(
    const Call&, const inference::RepositoryModelUnloadRequest& request,
    inference::RepositoryModelUnloadResponse& response, Done done) {
  Control(request.repository_name(), request.model_name(), std::move(done),
          [this, &response](const std::string& name) {
            QUERN_RETURN_IF_ERROR(parts_.repository->Unload(name));
            response.set_model_name(name);
            response.set_is_unloaded(true);
            return absl::OkStatus();
          });
}

void V2Handlers::TraceSetting(const Call&,
                              const inference::TraceSettingRequest& request,
                              inference::TraceSettingResponse& response,
                              Done done) {
  for (const auto& [name, setting] : request.settings()) {
    for (const std::string& value : setting.value()) {
      if (name == "trace_level" && value == "OFF") continue;
      done(absl::UnimplementedError(
          "traces are not written by this version; a request with the "
          "parameter \"quern_timing\" gets its own breakdown, and kernels and "
          "phases have their distributions in the metrics"));
      return;
    }
  }
  (*response.mutable_settings())["trace_level"].add_value("OFF");
  done(absl::OkStatus());
}

void V2Handlers::LogSettings(const Call&,
                             const inference::LogSettingsRequest& request,
                             inference::LogSettingsResponse& response,
                             Done done) {
  const auto changed = ChangedLevel(request, CurrentLogLevel());
  if (!changed.ok()) {
    done(changed.status());
    return;
  }
  SetLogLevel(*changed);
  Describe(CurrentLogLevel(), response);
  done(absl::OkStatus());
}

absl::Status V2Handlers::NoStreams() {
  return absl::UnimplementedError(
      "streams of inferences are not supported by this version, send each "
      "request by ModelInfer");
}

// There is no shared memory: what is registered is nothing, and clients that
// tidy up before they begin may do so.
#define QUERN_NO_SHARED_MEMORY(kind)                                          \
  void V2Handlers::kind##SharedMemoryStatus(                                  \
      const Call&, const inference::kind##SharedMemoryStatusRequest& request, \
      inference::kind##SharedMemoryStatusResponse&, Done done) {              \
    done(NoRegion(request.name()));                                           \
  }                                                                           \
  void V2Handlers::kind##SharedMemoryRegister(                                \
      const Call&, const inference::kind##SharedMemoryRegisterRequest&,       \
      inference::kind##SharedMemoryRegisterResponse&, Done done) {            \
    done(absl::UnimplementedError(                                            \
        "shared memory is not supported, send tensors by value"));            \
  }                                                                           \
  void V2Handlers::kind##SharedMemoryUnregister(                              \
      const Call&,                                                            \
      const inference::kind##SharedMemoryUnregisterRequest& request,          \
      inference::kind##SharedMemoryUnregisterResponse&, Done done) {          \
    done(NoRegion(request.name()));                                           \
  }
QUERN_NO_SHARED_MEMORY(System)
QUERN_NO_SHARED_MEMORY(Cuda)
#undef QUERN_NO_SHARED_MEMORY

}  // namespace quern::server
