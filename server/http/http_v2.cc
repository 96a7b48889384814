// SPDX-License-Identifier: Apache-2.0
#include "server/http/http_v2.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "server/http/http_infer.h"
#include "server/http/json_reader.h"
#include "server/http/json_writer.h"
#include "server/quoted.h"
#include "server/utf8.h"

namespace quern::server {
namespace {

using Kind = JsonReader::Kind;

constexpr char kRequestId[] = "x-request-id";
// A request's own name is echoed in a header if it is one that fits there.
constexpr size_t kMaxRequestId = 128;

// A longer body is decoded by another thread: those of HTTP serve others.
constexpr size_t kLongBodyBytes = 65536;

// The names that a path holds, by what the pattern calls them.
using Names = std::map<std::string, std::string>;

struct Visit {
  HttpRequest http;
  Names names;
  HttpReply reply;

  // Empty if the path has none.
  std::string Name(const std::string& name) const {
    const auto it = names.find(name);
    return it == names.end() ? "" : it->second;
  }
};

// What a body may hold, and so how long it may be.
enum class Body { kSmall, kTensors, kFiles };

HttpResponse ToHttp(const absl::Status& status) {
  HttpResponse response =
      HttpError(HttpStatusOf(status.code()), status.message());
  if (absl::IsUnauthenticated(status)) {
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
  }
  return response;
}

HttpResponse ToHttp(absl::StatusOr<HttpResponse> response) {
  return response.ok() ? *std::move(response) : ToHttp(response.status());
}

// A call of a handler with all that must live until it is done.
template <typename Request, typename Response>
struct Exchange {
  explicit Exchange(Visit visited) : visit(std::move(visited)) {
    call.arrival_ns = visit.http.arrival_ns;
    call.cancelled = visit.http.cancelled;
  }

  Visit visit;
  Call call;
  Request request;
  Response response;
};

template <typename Request, typename Response>
using Method = void (V2Handlers::*)(const Call&, const Request&, Response&,
                                    Done);

// Fills in a request from a visit; the body is empty or one JSON object.
template <typename Request>
using Fill = absl::Status (*)(const Visit& visit, Request& request);

// Makes the answer to a call that succeeded.
template <typename Response>
using Write = absl::StatusOr<HttpResponse> (*)(const Visit& visit,
                                               const Response& response);

template <typename Request, typename Response>
void Run(V2Handlers& handlers, Visit visit, Method<Request, Response> method,
         Fill<Request> fill, Write<Response> write) {
  const auto exchange =
      std::make_shared<Exchange<Request, Response>>(std::move(visit));
  const auto run = [&handlers, exchange, method, fill, write]() {
    QUERN_RETURN_IF_ERROR(fill(exchange->visit, exchange->request));
    exchange->visit.http.DropBody();
    (handlers.*method)(
        exchange->call, exchange->request, exchange->response,
        [exchange, write](const absl::Status& status) {
          exchange->visit.reply(
              status.ok() ? ToHttp(write(exchange->visit, exchange->response))
                          : ToHttp(status));
        });
    return absl::OkStatus();
  };
  if (exchange->visit.http.body.size() <= kLongBodyBytes) {
    const absl::Status filled = run();
    if (!filled.ok()) exchange->visit.reply(ToHttp(filled));
    return;
  }
  const absl::Status accepted = handlers.DeferLoad([exchange, run] {
    const absl::Status filled = base::NoThrow(run);
    if (!filled.ok()) exchange->visit.reply(ToHttp(filled));
  });
  if (!accepted.ok()) exchange->visit.reply(ToHttp(accepted));
}

// Requests.

// Reads the members of a body that is an object; an empty one has none.
absl::Status ReadBody(
    const Visit& visit,
    absl::FunctionRef<absl::Status(JsonReader& json, const std::string& name)>
        member) {
  if (absl::StripAsciiWhitespace(visit.http.body).empty()) {
    return absl::OkStatus();
  }
  JsonReader json(visit.http.body);
  QUERN_RETURN_IF_ERROR(
      json.Object([&](const std::string& name) { return member(json, name); }));
  return json.End();
}

template <typename Request>
absl::Status FillNothing(const Visit&, Request&) {
  return absl::OkStatus();
}

template <typename Request>
absl::Status FillModel(const Visit& visit, Request& request) {
  request.set_name(visit.Name("model"));
  request.set_version(visit.Name("version"));
  return absl::OkStatus();
}

template <typename Request>
absl::Status FillRegion(const Visit& visit, Request& request) {
  request.set_name(visit.Name("region"));
  return absl::OkStatus();
}

absl::Status FillIndex(const Visit& visit,
                       inference::RepositoryIndexRequest& request) {
  request.set_repository_name(visit.Name("repository"));
  return ReadBody(
      visit, [&](JsonReader& json, const std::string& name) -> absl::Status {
        if (name != "ready") return json.Skip();
        QUERN_ASSIGN_OR_RETURN(const bool ready, json.Bool());
        request.set_ready(ready);
        return absl::OkStatus();
      });
}

// A file travels in base64.
absl::Status SetParameter(const std::string& name,
                          const inference::InferParameter& value,
                          inference::ModelRepositoryParameter& parameter) {
  switch (value.parameter_choice_case()) {
    case inference::InferParameter::kBoolParam:
      parameter.set_bool_param(value.bool_param());
      return absl::OkStatus();
    case inference::InferParameter::kInt64Param:
      parameter.set_int64_param(value.int64_param());
      return absl::OkStatus();
    case inference::InferParameter::kStringParam:
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("the parameter ", Quoted(name),
                       " is a truth value, a whole number or text"));
  }
  if (!absl::StartsWith(name, "file:")) {
    parameter.set_string_param(value.string_param());
    return absl::OkStatus();
  }
  if (!absl::Base64Unescape(value.string_param(),
                            parameter.mutable_bytes_param())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the parameter ", Quoted(name), " is no base64"));
  }
  return absl::OkStatus();
}

template <typename Request>
absl::Status FillControl(const Visit& visit, Request& request) {
  request.set_repository_name(visit.Name("repository"));
  request.set_model_name(visit.Name("model"));
  return ReadBody(
      visit, [&](JsonReader& json, const std::string& name) -> absl::Status {
        if (name != "parameters") return json.Skip();
        return json.Object([&](const std::string& key) -> absl::Status {
          QUERN_ASSIGN_OR_RETURN(const inference::InferParameter value,
                                 ReadParameter(json));
          return SetParameter(key, value, (*request.mutable_parameters())[key]);
        });
      });
}

absl::Status FillTrace(const Visit& visit,
                       inference::TraceSettingRequest& request) {
  request.set_model_name(visit.Name("model"));
  return ReadBody(
      visit, [&](JsonReader& json, const std::string& name) -> absl::Status {
        auto& setting = (*request.mutable_settings())[name];
        const auto add = [&]() -> absl::Status {
          if (json.Peek() == Kind::kString) {
            QUERN_ASSIGN_OR_RETURN(*setting.add_value(), json.String());
          } else {
            QUERN_ASSIGN_OR_RETURN(const absl::string_view raw, json.Raw());
            setting.add_value(std::string(raw));
          }
          return absl::OkStatus();
        };
        if (json.Peek() == Kind::kNull) return json.Skip();  // Back to default.
        return json.Peek() == Kind::kArray ? json.Array(add) : add();
      });
}

absl::Status FillLog(const Visit& visit,
                     inference::LogSettingsRequest& request) {
  return ReadBody(
      visit, [&](JsonReader& json, const std::string& name) -> absl::Status {
        auto& setting = (*request.mutable_settings())[name];
        QUERN_ASSIGN_OR_RETURN(const inference::InferParameter value,
                               ReadParameter(json));
        if (value.has_bool_param()) {
          setting.set_bool_param(value.bool_param());
        } else if (value.has_string_param()) {
          setting.set_string_param(value.string_param());
        } else if (value.has_int64_param() && value.int64_param() >= 0 &&
                   value.int64_param() <= UINT32_MAX) {
          setting.set_uint32_param(static_cast<uint32_t>(value.int64_param()));
        } else {
          return absl::InvalidArgumentError(
              absl::StrCat("the setting ", Quoted(name),
                           " is no truth value, no text and no small number"));
        }
        return absl::OkStatus();
      });
}

// Answers.

template <typename Response>
absl::StatusOr<HttpResponse> WriteMessage(const Visit&,
                                          const Response& response) {
  HttpResponse http;
  AppendJsonMessage(response, http.body);
  return http;
}

absl::StatusOr<HttpResponse> WriteConfig(
    const Visit&, const inference::ModelConfigResponse& response) {
  HttpResponse http;
  AppendJsonMessage(response.config(), http.body);
  return http;
}

absl::StatusOr<HttpResponse> WriteIndex(
    const Visit&, const inference::RepositoryIndexResponse& response) {
  HttpResponse http;
  http.body = "[";
  for (const auto& model : response.models()) {
    if (http.body.size() > 1) http.body += ',';
    AppendJsonMessage(model, http.body);
  }
  http.body += ']';
  return http;
}

// Probes look at the status alone.
HttpResponse Ready(bool ready, std::string body) {
  HttpResponse http;
  http.status = ready ? 200 : 400;
  http.body = std::move(body);
  return http;
}

absl::StatusOr<HttpResponse> WriteServerReady(
    const Visit&, const inference::ServerReadyResponse& response) {
  return Ready(response.ready(),
               response.ready() ? "{\"ready\":true}" : "{\"ready\":false}");
}

absl::StatusOr<HttpResponse> WriteModelReady(
    const Visit& visit, const inference::ModelReadyResponse& response) {
  std::string body = "{\"name\":";
  AppendJsonString(visit.Name("model"), body);
  absl::StrAppend(&body, ",\"ready\":", response.ready() ? "true" : "false",
                  "}");
  return Ready(response.ready(), std::move(body));
}

// A setting has a value or a list of them.
void AppendSetting(const inference::TraceSettingResponse::SettingValue& setting,
                   std::string& out) {
  out += '[';
  for (int i = 0; i < setting.value_size(); ++i) {
    if (i > 0) out += ',';
    AppendJsonString(setting.value(i), out);
  }
  out += ']';
}

void AppendSetting(const inference::LogSettingsResponse::SettingValue& setting,
                   std::string& out) {
  if (setting.has_bool_param()) {
    out += setting.bool_param() ? "true" : "false";
  } else if (setting.has_uint32_param()) {
    AppendJsonNumber(uint64_t{setting.uint32_param()}, out);
  } else {
    AppendJsonString(setting.string_param(), out);
  }
}

template <typename Response>
absl::StatusOr<HttpResponse> WriteSettings(const Visit&,
                                           const Response& response) {
  std::map<std::string, std::string> sorted;
  for (const auto& [name, setting] : response.settings()) {
    AppendSetting(setting, sorted[name]);
  }
  HttpResponse http;
  for (const auto& [name, text] : sorted) {
    http.body += http.body.empty() ? '{' : ',';
    AppendJsonString(name, http.body);
    absl::StrAppend(&http.body, ":", text);
  }
  http.body += http.body.empty() ? "{}" : "}";
  return http;
}

// Of shared memory there is none, so no region is listed.
template <typename Response>
absl::StatusOr<HttpResponse> WriteRegions(const Visit&, const Response&) {
  HttpResponse http;
  http.body = "[]";
  return http;
}

template <typename Response>
absl::StatusOr<HttpResponse> WriteEmpty(const Visit&, const Response&) {
  return HttpResponse();
}

// Inferences.

struct Inference
    : Exchange<inference::ModelInferRequest, inference::ModelInferResponse> {
  using Exchange::Exchange;
  WantedForm form;
  std::string id;  // Of the header; echoed there.
};

void Finish(Inference& inference, const absl::Status& status) {
  HttpResponse http =
      status.ok() ? ToHttp(EncodeInfer(inference.response, inference.form))
                  : ToHttp(status);
  if (!inference.id.empty()) {
    http.headers.emplace_back("X-Request-Id", inference.id);
  }
  inference.visit.reply(std::move(http));
}

void Infer(V2Handlers& handlers, const std::shared_ptr<Inference>& inference) {
  if (inference->request.id().empty()) inference->request.set_id(inference->id);
  inference->visit.http.DropBody();
  handlers.ModelInfer(
      inference->call, inference->request, inference->response,
      [inference](const absl::Status& status) { Finish(*inference, status); });
}

// A body without JSON means what the model's inputs say.
void InferRaw(V2Handlers& handlers,
              const std::shared_ptr<Inference>& inference) {
  struct Metadata {
    inference::ModelMetadataRequest request;
    inference::ModelMetadataResponse response;
  };
  auto metadata = std::make_shared<Metadata>();
  metadata->request.set_name(inference->request.model_name());
  metadata->request.set_version(inference->request.model_version());
  handlers.ModelMetadata(inference->call, metadata->request, metadata->response,
                         [&handlers, inference, metadata](absl::Status status) {
                           if (status.ok()) {
                             status = DecodeRawInfer(
                                 inference->visit.http.body, metadata->response,
                                 inference->request, inference->form);
                           }
                           if (status.ok()) {
                             Infer(handlers, inference);
                           } else {
                             Finish(*inference, status);
                           }
                         });
}

void DecodeAndInfer(V2Handlers& handlers,
                    const std::shared_ptr<Inference>& inference,
                    size_t json_bytes) {
  const absl::Status decoded =
      DecodeInfer(inference->visit.http.body, json_bytes, inference->request,
                  inference->form);
  if (decoded.ok()) {
    Infer(handlers, inference);
  } else {
    Finish(*inference, decoded);
  }
}

void VisitInfer(V2Handlers& handlers, Visit visit) {
  auto inference = std::make_shared<Inference>(std::move(visit));
  const HttpRequest& http = inference->visit.http;
  const absl::string_view id = http.Header(kRequestId);
  if (id.size() <= kMaxRequestId &&
      std::all_of(id.begin(), id.end(), absl::ascii_isprint)) {
    inference->id = std::string(id);
  }
  inference->request.set_model_name(inference->visit.Name("model"));
  inference->request.set_model_version(inference->visit.Name("version"));
  const absl::StatusOr<std::optional<int64_t>> length = JsonLengthOf(http);
  if (!length.ok()) {
    Finish(*inference, length.status());
    return;
  }
  if (*length == 0) {
    InferRaw(handlers, inference);
    return;
  }
  const auto json_bytes =
      static_cast<size_t>(length->value_or(http.body.size()));
  if (http.body.size() <= kLongBodyBytes) {
    DecodeAndInfer(handlers, inference, json_bytes);
    return;
  }
  const absl::Status accepted = handlers.Defer(
      inference->request.model_name(), inference->request.model_version(),
      [&handlers, inference, json_bytes] {
        const absl::Status decoded = base::NoThrow([&] {
          DecodeAndInfer(handlers, inference, json_bytes);
          return absl::OkStatus();
        });
        if (!decoded.ok()) Finish(*inference, decoded);
      });
  if (!accepted.ok()) Finish(*inference, accepted);
}

void RefuseStream(V2Handlers&, Visit visit) {
  visit.reply(ToHttp(V2Handlers::NoStreams()));
}

// The table. A part of a path in brackets may be missing.

using Handler = void (*)(V2Handlers& handlers, Visit visit);

struct Row {
  const char* method;
  const char* path;
  Body body;
  Access access;
  Handler handler;
};

#define QUERN_V2_METHOD(method, access) \
  constexpr Access k##method##Access = Access::access;
#include "server/v2_methods.inc"
#undef QUERN_V2_METHOD

// The access of a method and what carries it.
#define QUERN_HTTP(method, fill, write)                                \
  k##method##Access, [](V2Handlers& handlers, Visit visit) {           \
    Run<inference::method##Request, inference::method##Response>(      \
        handlers, std::move(visit), &V2Handlers::method, fill, write); \
  }

// The routes of one kind of shared memory.
#define QUERN_HTTP_REGIONS(path, kind)                                   \
  {"GET", path "[/region/{region}]/status", Body::kSmall,                \
   QUERN_HTTP(kind##SharedMemoryStatus, FillRegion, WriteRegions)},      \
      {"POST", path "/region/{region}/register", Body::kSmall,           \
       QUERN_HTTP(kind##SharedMemoryRegister, FillRegion, WriteEmpty)},  \
  {                                                                      \
    "POST", path "[/region/{region}]/unregister", Body::kSmall,          \
        QUERN_HTTP(kind##SharedMemoryUnregister, FillRegion, WriteEmpty) \
  }

// Rows without names stand before those with names that could be theirs.
constexpr Row kRows[] = {
    {"GET", "/v2/health/live", Body::kSmall,
     QUERN_HTTP(ServerLive, FillNothing, WriteMessage)},
    {"GET", "/v2/health/ready", Body::kSmall,
     QUERN_HTTP(ServerReady, FillNothing, WriteServerReady)},
    {"GET", "/v2", Body::kSmall,
     QUERN_HTTP(ServerMetadata, FillNothing, WriteMessage)},
    {"GET", "/v2/models/stats", Body::kSmall,
     QUERN_HTTP(ModelStatistics, FillModel, WriteMessage)},
    {"GET", "/v2/models/{model}[/versions/{version}]", Body::kSmall,
     QUERN_HTTP(ModelMetadata, FillModel, WriteMessage)},
    {"GET", "/v2/models/{model}[/versions/{version}]/ready", Body::kSmall,
     QUERN_HTTP(ModelReady, FillModel, WriteModelReady)},
    {"GET", "/v2/models/{model}[/versions/{version}]/config", Body::kSmall,
     QUERN_HTTP(ModelConfig, FillModel, WriteConfig)},
    {"GET", "/v2/models/{model}[/versions/{version}]/stats", Body::kSmall,
     QUERN_HTTP(ModelStatistics, FillModel, WriteMessage)},
    {"POST", "/v2/models/{model}[/versions/{version}]/infer", Body::kTensors,
     kModelInferAccess, VisitInfer},
    {"POST", "/v2/models/{model}[/versions/{version}]/generate", Body::kSmall,
     kModelInferAccess, RefuseStream},
    {"POST", "/v2/models/{model}[/versions/{version}]/generate_stream",
     Body::kSmall, kModelInferAccess, RefuseStream},
    {"POST", "/v2/repository[/{repository}]/index", Body::kSmall,
     QUERN_HTTP(RepositoryIndex, FillIndex, WriteIndex)},
    {"POST", "/v2/repository[/{repository}]/models/{model}/load", Body::kFiles,
     QUERN_HTTP(RepositoryModelLoad, FillControl, WriteMessage)},
    {"POST", "/v2/repository[/{repository}]/models/{model}/unload",
     Body::kSmall,
     QUERN_HTTP(RepositoryModelUnload, FillControl, WriteMessage)},
    {"GET", "/v2[/models/{model}]/trace/setting", Body::kSmall,
     QUERN_HTTP(TraceSetting, FillTrace, WriteSettings)},
    {"POST", "/v2[/models/{model}]/trace/setting", Body::kSmall,
     QUERN_HTTP(TraceSetting, FillTrace, WriteSettings)},
    {"GET", "/v2/logging", Body::kSmall,
     QUERN_HTTP(LogSettings, FillLog, WriteSettings)},
    {"POST", "/v2/logging", Body::kSmall,
     QUERN_HTTP(LogSettings, FillLog, WriteSettings)},
    QUERN_HTTP_REGIONS("/v2/systemsharedmemory", System),
    QUERN_HTTP_REGIONS("/v2/cudasharedmemory", Cuda),
};
#undef QUERN_HTTP_REGIONS
#undef QUERN_HTTP

// A pattern without its optional part, and with it if it has one.
std::vector<std::string> Expand(absl::string_view path) {
  const std::vector<absl::string_view> before =
      absl::StrSplit(path, absl::MaxSplits('[', 1));
  if (before.size() == 1) return {std::string(path)};
  const std::vector<absl::string_view> after =
      absl::StrSplit(before[1], absl::MaxSplits(']', 1));
  return {absl::StrCat(before[0], after[1]),
          absl::StrCat(before[0], after[0], after[1])};
}

struct Route {
  const Row* row;
  std::string path;
  std::vector<std::string> segments;
};

std::vector<Route> MakeRoutes() {
  std::vector<Route> routes;
  for (const Row& row : kRows) {
    for (std::string& path : Expand(row.path)) {
      std::vector<std::string> segments = absl::StrSplit(path, '/');
      routes.push_back({&row, std::move(path), std::move(segments)});
    }
  }
  return routes;
}

// A segment of a path without its escapes; nothing if it is malformed, or no
// name.
std::optional<std::string> Unescape(absl::string_view segment) {
  std::string text;
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      text += segment[i];
      continue;
    }
    if (i + 2 >= segment.size() || !absl::ascii_isxdigit(segment[i + 1]) ||
        !absl::ascii_isxdigit(segment[i + 2])) {
      return std::nullopt;
    }
    text += absl::HexStringToBytes(segment.substr(i + 1, 2));
    i += 2;
  }
  if (text.empty() || !IsUtf8(text)) return std::nullopt;
  return text;
}

// The names in a path that has the pattern; nothing if it has another one.
std::optional<Names> Match(const Route& route,
                           const std::vector<absl::string_view>& segments) {
  if (segments.size() != route.segments.size()) return std::nullopt;
  Names names;
  for (size_t i = 0; i < segments.size(); ++i) {
    absl::string_view name = route.segments[i];
    if (absl::ConsumePrefix(&name, "{") && absl::ConsumeSuffix(&name, "}")) {
      std::optional<std::string> value = Unescape(segments[i]);
      if (!value.has_value()) return std::nullopt;
      names.emplace(name, *std::move(value));
    } else if (name != segments[i]) {
      return std::nullopt;
    }
  }
  return names;
}

class Router {
 public:
  Router(V2Handlers* handlers, const Authorizer* authorizer,
         const HttpV2Options& options)
      : handlers_(*handlers),
        authorizer_(*authorizer),
        options_(options),
        routes_(MakeRoutes()) {}

  std::variant<HttpRoute, HttpResponse> operator()(
      const HttpRequest& head) const {
    // Pages of other origins in a browser on this machine would otherwise
    // reach a server that listens to this machine only.
    if (!head.Header("origin").empty()) {
      return HttpError(403, "requests of pages in a browser are not served");
    }
    const std::vector<absl::string_view> segments =
        absl::StrSplit(head.path, '/');
    const std::string method = head.method == "HEAD" ? "GET" : head.method;
    std::vector<std::string> allowed;
    for (const Route& route : routes_) {
      std::optional<Names> names = Match(route, segments);
      if (!names.has_value()) continue;
      if (route.row->method == method) {
        return Enter(*route.row, head, *std::move(names));
      }
      allowed.push_back(route.row->method);
    }
    return allowed.empty() ? NoPath(head) : NoMethod(allowed);
  }

 private:
  static HttpResponse NoPath(const HttpRequest& head) {
    return HttpError(404,
                     absl::StrCat("there is no path ", Quoted(head.path),
                                  ", paths of the V2 protocol begin with /v2"));
  }

  static HttpResponse NoMethod(std::vector<std::string> allowed) {
    HttpResponse response =
        HttpError(405, "the path has no such method, see the header Allow");
    if (allowed[0] == "GET") allowed.push_back("HEAD");
    response.headers.emplace_back("Allow", absl::StrJoin(allowed, ", "));
    return response;
  }

  std::variant<HttpRoute, HttpResponse> Enter(const Row& row,
                                              const HttpRequest& head,
                                              Names names) const {
    const absl::Status access =
        authorizer_.Check(row.access, head.Header("authorization"));
    if (!access.ok()) return ToHttp(access);
    HttpRoute route;
    route.max_body_bytes = options_.max_json_bytes;
    route.limit_flag = "--http-max-json-bytes";
    bool long_body = row.body == Body::kFiles;
    if (row.body == Body::kTensors) {
      const auto length = JsonLengthOf(head);
      if (!length.ok()) return ToHttp(length.status());
      if (length->value_or(0) > options_.max_json_bytes) {
        return HttpError(413, absl::StrCat("the JSON has more than ",
                                           options_.max_json_bytes,
                                           " bytes (--http-max-json-bytes)"));
      }
      long_body = length->has_value();
    }
    if (long_body) {
      route.max_body_bytes = options_.max_message_bytes;
      route.limit_flag = "--max-message-bytes";
    }
    route.handle = [this, &row, names = std::move(names)](HttpRequest request,
                                                          HttpReply reply) {
      row.handler(handlers_, {std::move(request), names, std::move(reply)});
    };
    return route;
  }

  V2Handlers& handlers_;
  const Authorizer& authorizer_;
  const HttpV2Options options_;
  const std::vector<Route> routes_;
};

}  // namespace

HttpRouter MakeHttpV2Router(V2Handlers* handlers, const Authorizer* authorizer,
                            const HttpV2Options& options) {
  return
      [router = std::make_shared<const Router>(handlers, authorizer, options)](
          const HttpRequest& head) { return (*router)(head); };
}

std::vector<HttpV2Route> HttpV2Routes() {
  std::vector<HttpV2Route> all;
  for (const Route& route : MakeRoutes()) {
    all.push_back({route.row->method, route.path, route.row->access});
  }
  return all;
}

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return 500;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 400;
  }
}

}  // namespace quern::server
