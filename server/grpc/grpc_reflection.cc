// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_reflection.h"

#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"

#include "proto/grpc/reflection.pb.h"
#include "server/grpc/grpc_method.h"
#include "server/quoted.h"

namespace quern::server {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

// A client that asks on without reading has to wait for the next call.
constexpr int kMaxPending = 64;

// A file behind those that it imports.
void AddFile(const FileDescriptor& file, std::set<std::string>& seen,
             ServerReflectionResponse& response) {
  if (!seen.insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) {
    AddFile(*file.dependency(i), seen, response);
  }
  FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
}

void Refuse(absl::StatusCode code, const std::string& message,
            ServerReflectionResponse& response) {
  response.mutable_error_response()->set_error_code(static_cast<int>(code));
  response.mutable_error_response()->set_error_message(message);
}

ServerReflectionResponse AnswerTo(const ServerReflectionRequest& request,
                                  const std::vector<std::string>& services) {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const FileDescriptor* file = nullptr;
  std::string wanted;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : services) {
        response.mutable_list_services_response()->add_service()->set_name(
            name);
      }
      return response;
    case ServerReflectionRequest::kFileByFilename:
      wanted = request.file_by_filename();
      file = pool.FindFileByName(wanted);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      wanted = request.file_containing_symbol();
      file = pool.FindFileContainingSymbol(wanted);
      break;
    case ServerReflectionRequest::kFileContainingExtension:
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      Refuse(absl::StatusCode::kNotFound, "there are no extensions", response);
      return response;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      Refuse(absl::StatusCode::kInvalidArgument, "expected a question",
             response);
      return response;
  }
  if (file == nullptr) {
    Refuse(absl::StatusCode::kNotFound,
           absl::StrCat("there is no ", Quoted(wanted)), response);
    return response;
  }
  std::set<std::string> seen;
  AddFile(*file, seen, response);
  return response;
}

class Conversation final : public GrpcReader {
 public:
  Conversation(std::shared_ptr<GrpcCall> call,
               const std::vector<std::string>* services)
      : call_(std::move(call)), services_(*services) {}

  void OnMessage(GrpcMessage message) override {
    ServerReflectionRequest request;
    if (!message.is_short()) {
      call_->End(absl::ResourceExhaustedError("a question is not that long"));
    } else if (absl::Status parsed = message.Parse(request); !parsed.ok()) {
      call_->End(parsed);
    } else if (call_->pending() >= kMaxPending) {
      call_->End(absl::ResourceExhaustedError(
          absl::StrCat(kMaxPending, " answers wait to be read")));
    } else {
      call_->Send(AnswerTo(request, services_));
    }
  }

  void OnEnd() override { call_->End(absl::OkStatus()); }

 private:
  const std::shared_ptr<GrpcCall> call_;
  const std::vector<std::string>& services_;
};

}  // namespace

void AddReflection(const Authorizer* authorizer,
                   const std::vector<std::string>& services,
                   GrpcMethods& methods) {
  const auto shared =
      std::make_shared<const std::vector<std::string>>(services);
  const GrpcMethod method =
      Authorized(authorizer, Access::kPublic,
                 [shared](const std::shared_ptr<GrpcCall>& call) {
                   return std::make_unique<Conversation>(call, shared.get());
                 });
  for (const char* version : {"v1", "v1alpha"}) {
    methods[absl::StrCat("/grpc.reflection.", version,
                         ".ServerReflection/ServerReflectionInfo")] = method;
  }
}

}  // namespace quern::server
