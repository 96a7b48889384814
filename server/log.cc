// SPDX-License-Identifier: Apache-2.0
#include "server/log.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/logging.h"
#include <nlohmann/json.hpp>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "engine/base/mutex.h"
#include "engine/telemetry/distribution.h"
#include "server/quoted.h"

namespace quern::server {
namespace {

constexpr double kLinesPerSecond = 20;
constexpr double kLinesAtOnce = 100;

// The message as a JSON string.
class JsonText final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string text =
        nlohmann::json(
            std::string(message.payload.data(), message.payload.size()))
            .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonText>();
  }
};

// A bucket of lines that fills up with time.
class Limit {
 public:
  // The lines left out before this one, or -1 if this one is left out too.
  int64_t Take() {
    const int64_t now = telemetry::Clock::NowNs();
    base::MutexLock lock(&mutex_);
    lines_ = std::min(kLinesAtOnce, lines_ + static_cast<double>(now - last_) *
                                                 1e-9 * kLinesPerSecond);
    last_ = now;
    if (lines_ < 1) {
      ++left_out_;
      return -1;
    }
    lines_ -= 1;
    return std::exchange(left_out_, 0);
  }

 private:
  base::Mutex mutex_;
  double lines_ ABSL_GUARDED_BY(mutex_) = kLinesAtOnce;
  int64_t last_ ABSL_GUARDED_BY(mutex_) = telemetry::Clock::NowNs();
  int64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Whoever sends a message that is none could fill the log with such lines, and
// gets an error anyway.
void LogFromProtobuf(google::protobuf::LogLevel, const char* file, int line,
                     const std::string& message) {
  spdlog::debug("{}:{}: {}", file, line, message);
}

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void StartLog(const std::string& format, const std::string& level) {
  auto logger = spdlog::stderr_logger_mt("quernd");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::warn);
  if (format == "json") {
    auto formatter = std::make_unique<spdlog::pattern_formatter>(
        spdlog::pattern_time_type::utc);
    formatter->add_flag<JsonText>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})");
    logger->set_formatter(std::move(formatter));
  }
  spdlog::set_default_logger(std::move(logger));
  google::protobuf::SetLogHandler(LogFromProtobuf);
}

LogLevel CurrentLogLevel() {
  switch (spdlog::get_level()) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LogLevel::kDebug;
    case spdlog::level::info:
      return LogLevel::kInfo;
    case spdlog::level::warn:
      return LogLevel::kWarning;
    default:
      return LogLevel::kError;
  }
}

void SetLogLevel(LogLevel level) {
  spdlog::default_logger()->set_level(LevelOf(level));
}

void LogRequest(const std::string& model, const std::string& id,
                const absl::Status& status, const RequestTimes& times) {
  const auto level = status.ok() ? spdlog::level::debug : spdlog::level::info;
  if (!spdlog::should_log(level)) return;
  // The state of the log, which is the process's.
  static auto* const kLimit = new Limit;
  const int64_t left_out = kLimit->Take();
  if (left_out < 0) return;
  if (left_out > 0) {
    spdlog::warn("{} lines about requests were left out", left_out);
  }
  std::string text = absl::StrCat(
      "request ", Quoted(id), " of ", model, ": ",
      status.ok() ? "OK" : absl::StatusCodeToString(status.code()), " after ",
      times.total_ns / 1000, " us (queue ", times[Phase::kQueue] / 1000,
      ", input ", times[Phase::kInput] / 1000, ", execute ",
      times[Phase::kExecute] / 1000, ", output ", times[Phase::kOutput] / 1000,
      ")");
  if (!status.ok()) {
    absl::StrAppend(&text, ": ",
                    absl::CHexEscape(std::string(status.message())));
  }
  spdlog::log(level, "{}", text);
}

absl::StatusOr<LogLevel> ChangedLevel(
    const inference::LogSettingsRequest& request, LogLevel current) {
  bool info = current <= LogLevel::kInfo;
  bool warning = current <= LogLevel::kWarning;
  bool verbose = current <= LogLevel::kDebug;
  for (const auto& [name, value] : request.settings()) {
    if (name == "log_info") {
      info = value.bool_param();
    } else if (name == "log_warning") {
      warning = value.bool_param();
    } else if (name == "log_verbose_level") {
      verbose = value.uint32_param() > 0;
    } else if (name == "log_error" && value.bool_param()) {
      continue;  // Errors are always logged.
    } else if (name == "log_format" && value.string_param() == "default") {
      continue;
    } else if (name == "log_file" && value.string_param().empty()) {
      continue;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "the log setting ", Quoted(name),
          " cannot be changed so while the server runs; log_info, log_warning "
          "and log_verbose_level can"));
    }
  }
  if (verbose) return LogLevel::kDebug;
  if (info) return LogLevel::kInfo;
  return warning ? LogLevel::kWarning : LogLevel::kError;
}

void Describe(LogLevel level, inference::LogSettingsResponse& response) {
  auto& settings = *response.mutable_settings();
  settings["log_file"].set_string_param("");
  settings["log_info"].set_bool_param(level <= LogLevel::kInfo);
  settings["log_warning"].set_bool_param(level <= LogLevel::kWarning);
  settings["log_error"].set_bool_param(true);
  settings["log_verbose_level"].set_uint32_param(level == LogLevel::kDebug ? 1
                                                                           : 0);
  settings["log_format"].set_string_param("default");
}

}  // namespace quern::server
