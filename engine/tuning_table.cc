// SPDX-License-Identifier: Apache-2.0
#include "engine/tuning_table.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace quern {
namespace {

constexpr absl::string_view kFirstLine = "quern tuning 1";
constexpr size_t kMostBytes = size_t{64} << 20;

std::string TextOf(const MeasuredTime& time) {
  return absl::StrCat(time.count, "\t", time.median, "\t", time.mean, "\t",
                      time.stdev);
}

// Four fields from `field` on; false if they are no times.
bool ParseTime(const std::vector<absl::string_view>& fields, size_t field,
               MeasuredTime& time) {
  return absl::SimpleAtoi(fields[field], &time.count) && time.count > 0 &&
         absl::SimpleAtod(fields[field + 1], &time.median) &&
         absl::SimpleAtod(fields[field + 2], &time.mean) &&
         absl::SimpleAtod(fields[field + 3], &time.stdev) &&
         std::isfinite(time.median + time.mean + time.stdev) &&
         std::min({time.median, time.mean, time.stdev}) >= 0;
}

// What is written must be read as it was.
bool IsField(absl::string_view text) {
  return !text.empty() && text.size() <= 1000 &&
         text.find_first_of("\t\n") == absl::string_view::npos;
}

}  // namespace

absl::Status TuningTable::Parse(absl::string_view text, Rows& rows) {
  constexpr size_t kFields = 11;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (number == 1 ? line == kFirstLine : line.empty()) continue;
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
    TunedChoice choice;
    if (number == 1 || fields.size() != kFields || !IsField(fields[0]) ||
        !IsField(fields[1]) || !IsField(fields[2]) ||
        !ParseTime(fields, 3, choice.estimated) ||
        !ParseTime(fields, 7, choice.chosen)) {
      return absl::DataLossError(absl::StrCat(
          "line ", number, " is ", base::Quoted(line.substr(0, 80)),
          ", expected ",
          number == 1 ? absl::StrCat("\"", kFirstLine, "\"")
                      : absl::StrCat(kFields,
                                     " fields between tabs: device, "
                                     "kernel, choice and times")));
    }
    choice.device = std::string(fields[0]);
    choice.kernel = std::string(fields[1]);
    choice.choice = std::string(fields[2]);
    rows[{choice.device, choice.kernel}] = std::move(choice);
  }
  return absl::OkStatus();
}

std::string TuningTable::TextOf(const Rows& rows) {
  std::string text = absl::StrCat(kFirstLine, "\n");
  for (const auto& [key, row] : rows) {
    absl::StrAppend(&text, row.device, "\t", row.kernel, "\t", row.choice, "\t",
                    quern::TextOf(row.estimated), "\t",
                    quern::TextOf(row.chosen), "\n");
  }
  return text;
}

absl::StatusOr<TuningTable::Rows> TuningTable::ReadFile() const {
  Rows rows;
  std::error_code error;
  const auto size = std::filesystem::file_size(path_, error);
  if (error == std::errc::no_such_file_or_directory) return rows;
  std::ifstream file(path_, std::ios::binary);
  if (error || !file || size > kMostBytes) {
    return absl::UnavailableError(
        absl::StrCat("cannot read the tuning table ", path_));
  }
  std::stringstream text;
  text << file.rdbuf();
  const absl::Status status = Parse(text.str(), rows);
  if (status.ok()) return rows;
  return absl::DataLossError(absl::StrCat("the tuning table ", path_, ": ",
                                          status.message(),
                                          "; mend or delete it"));
}

absl::StatusOr<std::unique_ptr<TuningTable>> TuningTable::Open(
    const std::string& path) {
  std::unique_ptr<TuningTable> table(new TuningTable(path));
  if (path.empty()) return table;
  QUERN_ASSIGN_OR_RETURN(Rows rows, table->ReadFile());
  base::MutexLock lock(&table->mutex_);
  table->rows_ = std::move(rows);
  return table;
}

std::shared_ptr<const base::Choices> TuningTable::ChoicesFor(
    const std::string& device) const {
  auto choices = std::make_shared<base::Choices>();
  base::MutexLock lock(&mutex_);
  for (auto it = rows_.lower_bound({device, ""});
       it != rows_.end() && it->first.first == device; ++it) {
    (*choices)[it->second.kernel] = it->second.choice;
  }
  return choices;
}

absl::Status TuningTable::Add(const std::vector<TunedChoice>& choices) {
  for (const TunedChoice& choice : choices) {
    if (!IsField(choice.device) || !IsField(choice.kernel) ||
        !IsField(choice.choice)) {
      return absl::InternalError("a tuned choice is no field of a table");
    }
  }
  base::MutexLock lock(&mutex_);
  Rows rows = rows_;
  if (!path_.empty()) {
    QUERN_ASSIGN_OR_RETURN(Rows others, ReadFile());
    for (auto& [key, row] : others) rows[key] = std::move(row);
  }
  for (const TunedChoice& choice : choices) {
    rows[{choice.device, choice.kernel}] = choice;
  }
  const std::string text = TextOf(rows);
  if (text.size() > kMostBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the tuning table would have ", text.size(),
                     " bytes, at most ", kMostBytes, " are kept"));
  }
  rows_ = std::move(rows);
  if (path_.empty()) return absl::OkStatus();
  // Whole or not at all, whatever happens meanwhile.
  const std::string fresh = absl::StrCat(path_, ".", getpid());
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(fresh, path_, error);
  if (!file || error) {
    std::filesystem::remove(fresh, error);
    return absl::UnavailableError(
        absl::StrCat("cannot write the tuning table ", path_,
                     "; its choices hold until this process ends"));
  }
  return absl::OkStatus();
}

std::string TuningTable::Export() const {
  base::MutexLock lock(&mutex_);
  return TextOf(rows_);
}

absl::StatusOr<int> TuningTable::Import(absl::string_view text) {
  Rows rows;
  if (text.size() > kMostBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the table has ", text.size(), " bytes, at most ",
                     kMostBytes, " are taken"));
  }
  if (const absl::Status status = Parse(text, rows); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("this is no tuning table: ", status.message()));
  }
  std::vector<TunedChoice> choices;
  choices.reserve(rows.size());
  for (auto& [key, row] : rows) choices.push_back(std::move(row));
  QUERN_RETURN_IF_ERROR(Add(choices));
  return static_cast<int>(choices.size());
}

}  // namespace quern
