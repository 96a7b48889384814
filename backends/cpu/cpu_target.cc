// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_target.h"

#include <algorithm>
#include <array>
#include <climits>
#include <fstream>
#include <map>
#include <optional>
#include <unistd.h>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "backends/cpu/isa.h"
#include "backends/cpu/jit.h"
#include "engine/base/status_macros.h"

namespace quern::cpu {
namespace {

struct Feature {
  const char* name;  // As LLVM calls it.
  IsaLevel level;    // The first level that uses it.
  bool required;     // The level cannot do without it.
};

// The features that kernels may use. Others are left out, so that keys do not
// change with what does not matter, and among them avx10: LLVM lets it narrow
// vectors.
constexpr std::array<Feature, 29> kFeatures = {{
    {"avx", IsaLevel::kAvx2, true},
    {"avx2", IsaLevel::kAvx2, true},
    {"avx512bf16", IsaLevel::kAvx512, false},
    {"avx512bw", IsaLevel::kAvx512, true},
    {"avx512cd", IsaLevel::kAvx512, false},
    {"avx512dq", IsaLevel::kAvx512, true},
    {"avx512f", IsaLevel::kAvx512, true},
    {"avx512vbmi", IsaLevel::kAvx512, false},
    {"avx512vl", IsaLevel::kAvx512, true},
    {"avx512vnni", IsaLevel::kAvx512, false},
    {"bmi", IsaLevel::kAvx2, false},
    {"bmi2", IsaLevel::kAvx2, false},
    {"cx16", IsaLevel::kSse4, false},
    {"f16c", IsaLevel::kAvx2, false},
    {"fma", IsaLevel::kAvx2, false},
    {"lzcnt", IsaLevel::kAvx2, false},
    {"movbe", IsaLevel::kAvx2, false},
    {"popcnt", IsaLevel::kSse4, false},
    {"sahf", IsaLevel::kSse4, false},
    {"sse3", IsaLevel::kSse4, true},
    {"sse4.1", IsaLevel::kSse4, true},
    {"sse4.2", IsaLevel::kSse4, true},
    {"ssse3", IsaLevel::kSse4, true},
    {"bf16", IsaLevel::kNeon, false},
    {"dotprod", IsaLevel::kNeon, false},
    {"fp-armv8", IsaLevel::kNeon, true},
    {"fullfp16", IsaLevel::kNeon, false},
    {"i8mm", IsaLevel::kNeon, false},
    {"neon", IsaLevel::kNeon, true},
}};

struct Level {
  IsaLevel level;
  const char* name;
  const char* arch;
  int vector_bytes;
  int vector_registers;
  bool masked_vectors;
};

// Of one architecture from the least to the greatest.
constexpr std::array<Level, 4> kLevels = {{
    {IsaLevel::kSse4, "sse4", kX86, 16, 16, false},
    {IsaLevel::kAvx2, "avx2", kX86, 32, 16, false},
    {IsaLevel::kAvx512, "avx512", kX86, 64, 32, true},
    {IsaLevel::kNeon, "neon", kAarch64, 16, 32, false},
}};

// The first level for kAuto.
const Level& Facts(IsaLevel level) {
  for (const Level& facts : kLevels) {
    if (facts.level == level) return facts;
  }
  return kLevels[0];
}

bool Uses(const Level& level, const Feature& feature) {
  const Level& first = Facts(feature.level);
  return absl::string_view(first.arch) == level.arch &&
         first.level <= level.level;
}

// The target of `level` with those of its features that `has` names.
base::Target TargetWith(const Level& level,
                        const std::map<std::string, bool>& has) {
  base::Target target;
  target.backend = "cpu";
  target.max_arguments = INT_MAX;  // They are handed over in an array.
  // Every AArch64 multiplies and adds at once and converts f16.
  target.fused_multiply_add = level.level == IsaLevel::kNeon;
  target.f16_conversion = level.level == IsaLevel::kNeon;
  std::vector<std::string> features;
  for (const Feature& feature : kFeatures) {
    const auto it = has.find(feature.name);
    if (!Uses(level, feature) || it == has.end() || !it->second) continue;
    features.push_back(absl::StrCat("+", feature.name));
    const absl::string_view name = feature.name;
    if (name == "fma") target.fused_multiply_add = true;
    if (name == "f16c") target.f16_conversion = true;
  }
  target.isa = absl::StrCat(level.arch, " ", absl::StrJoin(features, ","));
  target.vector_bytes = level.vector_bytes;
  target.vector_registers = level.vector_registers;
  target.masked_vectors = level.masked_vectors;
  return target;
}

// The first required feature of `level` that `has` lacks, or null.
const char* Missing(const Level& level,
                    const std::map<std::string, bool>& has) {
  for (const Feature& feature : kFeatures) {
    if (!feature.required || !Uses(level, feature)) continue;
    const auto it = has.find(feature.name);
    if (it == has.end() || !it->second) return feature.name;
  }
  return nullptr;
}

std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

// "48K" -> 49152.
std::optional<int64_t> ParseSize(absl::string_view text) {
  int64_t unit = 1;
  if (absl::ConsumeSuffix(&text, "K")) unit = 1 << 10;
  if (absl::ConsumeSuffix(&text, "M")) unit = 1 << 20;
  int64_t size = 0;
  if (!absl::SimpleAtoi(text, &size) || size <= 0 || size > (1 << 30)) {
    return std::nullopt;
  }
  return size * unit;
}

// The data or unified cache of `level` of the first CPU, from sysfs or, where
// that is not mounted, from the C library; `fallback` if neither tells.
int64_t CacheBytes(int level, int name, int64_t fallback) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder =
        absl::StrCat("/sys/devices/system/cpu/cpu0/cache/index", index, "/");
    const std::optional<std::string> type = FirstLine(folder + "type");
    if (!type.has_value()) break;
    if (*type == "Instruction" ||
        FirstLine(folder + "level") != absl::StrCat(level)) {
      continue;
    }
    const std::optional<int64_t> size =
        ParseSize(FirstLine(folder + "size").value_or(""));
    if (size.has_value()) return *size;
  }
  const int64_t size = sysconf(name);
  return size > 0 ? size : fallback;
}

}  // namespace

absl::StatusOr<IsaLevel> ParseIsaLevel(absl::string_view text) {
  if (text == "auto") return IsaLevel::kAuto;
  std::string known = "auto";
  for (const Level& level : kLevels) {
    if (text == level.name) return level.level;
    absl::StrAppend(&known, " ", level.name);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown instruction set level '", text, "', expected one of: ", known));
}

base::Target TargetOfLevel(IsaLevel level) {
  std::map<std::string, bool> all;
  for (const Feature& feature : kFeatures) all[feature.name] = true;
  return TargetWith(Facts(level), all);
}

absl::StatusOr<base::Target> DetectTarget(IsaLevel wanted) {
  const std::map<std::string, bool>& has = HostFeatures();
  const Level* found = nullptr;
  for (const Level& level : kLevels) {
    if (level.arch != kHostArch) continue;
    const bool better = found == nullptr || Missing(level, has) == nullptr;
    if (wanted == IsaLevel::kAuto ? better : level.level == wanted) {
      found = &level;
    }
  }
  if (found == nullptr) {
    const Level& facts = Facts(wanted);
    return absl::UnavailableError(
        absl::StrCat("level ", facts.name, " is of ", facts.arch,
                     ", this machine is of ", kHostArch));
  }
  const Level& level = *found;
  if (const char* missing = Missing(level, has); missing != nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "this cpu lacks ", missing, ", which level ", level.name, " needs"));
  }
  base::Target target = TargetWith(level, has);
  target.l1_bytes = CacheBytes(1, _SC_LEVEL1_DCACHE_SIZE, target.l1_bytes);
  target.l2_bytes = CacheBytes(2, _SC_LEVEL2_CACHE_SIZE, target.l2_bytes);
  target.l3_bytes = CacheBytes(3, _SC_LEVEL3_CACHE_SIZE, target.l3_bytes);
  return target;
}

std::string HostModel() {
  std::ifstream file("/proc/cpuinfo");
  std::vector<std::string> words;
  std::string line;
  // Of the first one.
  while (std::getline(file, line) && !line.empty()) {
    const std::pair<absl::string_view, absl::string_view> field =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    const absl::string_view name = absl::StripAsciiWhitespace(field.first);
    for (const char* wanted :
         {"vendor_id", "cpu family", "model", "CPU implementer", "CPU part"}) {
      if (name != wanted) continue;
      words.emplace_back(absl::StripAsciiWhitespace(field.second));
    }
  }
  return absl::StrJoin(words, " ");
}

absl::Status CheckHostHas(absl::string_view text) {
  QUERN_ASSIGN_OR_RETURN(const Isa isa, ParseIsa(text));
  if (isa.arch != kHostArch) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the kernel is for ", isa.arch, ", this machine is of ", kHostArch));
  }
  const std::map<std::string, bool>& has = HostFeatures();
  for (absl::string_view word :
       absl::StrSplit(isa.features, ',', absl::SkipEmpty())) {
    if (!absl::ConsumePrefix(&word, "+")) continue;
    const auto it = has.find(std::string(word));
    if (it == has.end() || !it->second) {
      return absl::FailedPreconditionError(
          absl::StrCat("the kernel needs ", word, ", which this cpu lacks"));
    }
  }
  return absl::OkStatus();
}

}  // namespace quern::cpu
