// SPDX-License-Identifier: Apache-2.0
//
// Times the decoding of a request over HTTP whose tensor is JSON, and beside it
// a parse of the same text into the library's document, which would be the
// first step of the other way to do it. Prints a JSON line for each: the median
// and the spread, and the rate.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/http/http_infer.h"

namespace quern {
namespace {

constexpr int kRuns = 20;
constexpr int kElements = 1'000'000;

std::string Request() {
  std::vector<float> values(kElements);
  for (int i = 0; i < kElements; ++i) {
    values[i] = static_cast<float>(i % 1999) / 1999 - 0.5F;
  }
  return nlohmann::json({{"inputs",
                          {{{"name", "x"},
                            {"datatype", "FP32"},
                            {"shape", {kElements}},
                            {"data", std::move(values)}}}}})
      .dump();
}

double Milliseconds(const std::function<bool(const std::string&)>& work,
                    const std::string& text) {
  const auto begin = std::chrono::steady_clock::now();
  if (!work(text)) return -1;
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now() - begin)
      .count();
}

void Print(const char* name, std::vector<double> ms, const std::string& text) {
  std::sort(ms.begin(), ms.end());
  const double median = ms[ms.size() / 2];
  const nlohmann::json line = {
      {"bench", name},
      {"elements", kElements},
      {"bytes", text.size()},
      {"runs", kRuns},
      {"median_ms", median},
      {"min_ms", ms.front()},
      {"p90_ms", ms[ms.size() * 9 / 10]},
      {"mb_per_s", static_cast<double>(text.size()) / median * 1e-3}};
  std::printf("%s\n", line.dump().c_str());
}

bool Decode(const std::string& text) {
  inference::ModelInferRequest request;
  server::WantedForm form;
  return server::DecodeInfer(text, text.size(), request, form).ok();
}

bool Document(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, false).is_object();
}

int Main() {
  const std::string text = Request();
  std::vector<double> decode;
  std::vector<double> document;
  // By turns, the first of each to warm up.
  for (int i = 0; i < kRuns + 1; ++i) {
    const double first = Milliseconds(Decode, text);
    const double second = Milliseconds(Document, text);
    if (first < 0 || second < 0) return 1;
    if (i == 0) continue;
    decode.push_back(first);
    document.push_back(second);
  }
  Print("http_infer_json", decode, text);
  Print("json_document", document, text);
  return 0;
}

}  // namespace
}  // namespace quern

int main() { return quern::Main(); }
