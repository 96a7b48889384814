// SPDX-License-Identifier: Apache-2.0
//
// Inferences over HTTP: the V2 protocol's JSON, with Triton's extension for
// binary tensors behind it, into messages and back. Tensors in JSON become raw
// bytes at once, so a request may mix both forms.
//
// Pure functions; any thread may call them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "proto/inference/grpc_service.pb.h"
#include "server/http/http_message.h"
#include "server/http/json_reader.h"

namespace quern::server {

// The header that tells how much of a body is JSON, in requests and answers; in
// lower case, as headers of requests are.
inline constexpr char kJsonLengthHeader[] = "inference-header-content-length";

// Which outputs the client wants as bytes instead of JSON.
struct WantedForm {
  bool binary = false;  // Where nothing is said of an output.
  std::map<std::string, bool> binary_of;
};

// The value of kJsonLengthHeader; nothing if there is none.
// kInvalidArgument if it is no length, or more than the body has.
[[nodiscard]] absl::StatusOr<std::optional<int64_t>> JsonLengthOf(
    const HttpRequest& http);

// Fills in `request` and `form` from a body whose first `json_bytes` are JSON.
// kInvalidArgument, naming the tensor, for JSON that is no request, for numbers
// outside their type, and for bytes that are missing or left over.
[[nodiscard]] absl::Status DecodeInfer(absl::string_view body,
                                       size_t json_bytes,
                                       inference::ModelInferRequest& request,
                                       WantedForm& form);

// Fills in `request` from a body that is the bytes of the only input of the
// model described: Triton's raw request, which wants its outputs as bytes. One
// dimension may be free. kInvalidArgument if the model has another number of
// inputs, or the bytes do not fit.
[[nodiscard]] absl::Status DecodeRawInfer(
    absl::string_view body, const inference::ModelMetadataResponse& model,
    inference::ModelInferRequest& request, WantedForm& form);

// The answer; takes the bytes out of `response`. kInvalidArgument if an output
// is wanted as JSON and its type has no such form.
[[nodiscard]] absl::StatusOr<HttpResponse> EncodeInfer(
    inference::ModelInferResponse& response, const WantedForm& form);

// A parameter of a request or of a tensor, from the reader's next value:
// a truth value, a number, or text.
[[nodiscard]] absl::StatusOr<inference::InferParameter> ReadParameter(
    JsonReader& json);

}  // namespace quern::server
