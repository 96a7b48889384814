// SPDX-License-Identifier: Apache-2.0
//
// Who may call what of the real daemon: tokens and certificates.
#include <chrono>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/e2e/fixtures.h"
#include "tests/support/raw_client.h"

namespace quern::e2e {
namespace {

using ::testing::HasSubstr;

constexpr char kInference[] = "inference-token-0123456789";
constexpr char kGraph[] = "graph-token-0123456789";
constexpr char kAdmin[] = "admin-token-0123456789";

constexpr char kWatch[] = "/quern.v1.KernelService/WatchKernels";

// Calls a method with an empty message and a token, if it is not empty.
grpc::Status CallWith(const std::shared_ptr<grpc::Channel>& channel,
                      const std::string& method, const std::string& token) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, method, &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice slice(std::string{});
  if (ok) {
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    queue.Next(&tag, &ok);
  }
  // The status comes after the messages, if they come to an end.
  while (ok) {
    grpc::ByteBuffer message;
    call->Read(&message, nullptr);
    queue.Next(&tag, &ok);
    if (ok && method == kWatch) context.TryCancel();
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  return status;
}

bool IsRefused(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAUTHENTICATED ||
         status.error_code() == grpc::StatusCode::PERMISSION_DENIED;
}

// The methods of the daemon's services, "/package.Service/Method".
std::vector<std::string> Methods() {
  std::vector<std::string> methods;
  for (const google::protobuf::ServiceDescriptor* service :
       {inference::ModelInferRequest::descriptor()->file()->service(0),
        v1::SubmitRequest::descriptor()->file()->service(0),
        v1::ListKernelsRequest::descriptor()->file()->service(0)}) {
    for (int i = 0; i < service->method_count(); ++i) {
      methods.push_back(absl::StrCat("/", service->full_name(), "/",
                                     service->method(i)->name()));
    }
  }
  return methods;
}

TEST(Tokens, OpenNoMethodButThoseOfTheirRole) {
  const Folder folder;
  const std::string file = folder.path() + "/tokens";
  WriteFile(file, absl::StrCat("# who may do what\n\ninference ", kInference,
                               "\ngraph ", kGraph, "\nadmin ", kAdmin, "\n"));
  Daemon daemon({"--token-file", file});
  ASSERT_FALSE(daemon.address().empty());
  const std::string v2 = "/inference.GRPCInferenceService/";
  const std::set<std::string> open = {v2 + "ServerLive", v2 + "ServerReady",
                                      v2 + "ModelReady"};
  const std::set<std::string> admin = {v2 + "RepositoryModelLoad",
                                       v2 + "RepositoryModelUnload",
                                       v2 + "TraceSetting", v2 + "LogSettings"};
  int count = 0;
  for (const std::string& method : Methods()) {
    ++count;
    const bool is_graph = method.find("quern.v1.") != std::string::npos;
    EXPECT_EQ(IsRefused(CallWith(daemon.channel(), method, "")),
              !open.contains(method))
        << method;
    EXPECT_EQ(
        IsRefused(CallWith(daemon.channel(), method, "wrong-token-wrong")),
        !open.contains(method))
        << method;
    EXPECT_EQ(IsRefused(CallWith(daemon.channel(), method, kInference)),
              is_graph || admin.contains(method))
        << method;
    EXPECT_EQ(IsRefused(CallWith(daemon.channel(), method, kGraph)),
              admin.contains(method))
        << method;
    EXPECT_FALSE(IsRefused(CallWith(daemon.channel(), method, kAdmin)))
        << method;
  }
  EXPECT_GE(count, 30);
  EXPECT_TRUE(
      CallWith(daemon.channel(), "/grpc.health.v1.Health/Check", "").ok());
}

TEST(Tokens, LeaveInferenceOpenIfNoneIsForIt) {
  const Folder folder;
  const std::string file = folder.path() + "/tokens";
  WriteFile(file, absl::StrCat("admin ", kAdmin));
  WriteFile(folder.path() + "/models/mlp/1/model.onnx", PerceptronFile());
  Daemon daemon(
      {"--token-file", file, "--model-repository", folder.path() + "/models"});
  ASSERT_FALSE(daemon.address().empty());
  EXPECT_TRUE(Infer(daemon, PerceptronRequest(1)).status.ok());
  EXPECT_TRUE(IsRefused(
      CallWith(daemon.channel(), "/quern.v1.KernelService/ListKernels", "")));
}

TEST(Tokens, AFileThatIsNoneIsRefusedWithoutItsText) {
  struct Case {
    const char* text;
    const char* message;
  };
  const Case cases[] = {
      {"secret-secret-secret-secret", "line 1"},
      {"admin short", "expected at least 16"},
      {"# nothing", "has no token"},
      {"king secret-secret-secret-secret", "inference, graph or admin"},
  };
  for (const Case& c : cases) {
    const Folder folder;
    const std::string file = folder.path() + "/tokens";
    WriteFile(file, c.text);
    const Finished finished =
        RunProgram({Program("quernd"), "--grpc-address", "127.0.0.1:0",
                    "--http-address", "none", "--metrics-address", "none",
                    "--cache-dir", "", "--token-file", file});
    EXPECT_EQ(finished.exit_code, 1) << c.text;
    EXPECT_THAT(finished.err, HasSubstr(c.message));
    EXPECT_THAT(finished.err, ::testing::Not(HasSubstr("secret-secret")));
  }
}

// Certificates by the program of Debian's package openssl.
class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    struct stat status = {};
    if (stat("/usr/bin/openssl", &status) != 0) {
      GTEST_SKIP() << "no /usr/bin/openssl to make certificates with";
    }
    for (const char* name : {"server", "client", "stranger"}) {
      const Finished finished =
          RunProgram({"/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048",
                      "-nodes", "-days", "2", "-subj", "/CN=localhost",
                      "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                      "-keyout", Key(name), "-out", Cert(name)});
      ASSERT_EQ(finished.exit_code, 0) << finished.err;
    }
  }

  std::string Key(const std::string& name) { return Path(name + ".key"); }
  std::string Cert(const std::string& name) { return Path(name + ".crt"); }
  std::string Path(const std::string& file) {
    return folder_.path() + "/" + file;
  }
  static std::string Read(const std::string& path) {
    return RunProgram({"/bin/cat", path}).out;
  }

  // Whether the daemon says that it is live to a client with this certificate.
  bool Reaches(const Daemon& daemon, const std::string& client) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Read(Cert("server"));
    if (!client.empty()) {
      options.pem_private_key = Read(Key(client));
      options.pem_cert_chain = Read(Cert(client));
    }
    const auto channel =
        grpc::CreateChannel(daemon.address(), grpc::SslCredentials(options));
    return CallWith(channel, "/inference.GRPCInferenceService/ServerLive", "")
        .ok();
  }

  // The same over HTTP.
  bool ReachesByHttp(const Daemon& daemon, const std::string& client) {
    std::vector<std::string> words = {
        "/usr/bin/curl",
        "-sf",
        "--max-time",
        "20",
        "--cacert",
        Cert("server"),
        absl::StrCat("https://", daemon.http_address(), "/v2/health/live")};
    if (!client.empty()) {
      words.insert(words.end(), {"--cert", Cert(client), "--key", Key(client)});
    }
    return RunProgram(words).exit_code == 0;
  }

  Folder folder_;
};

TEST_F(Tls, KeepsOutWhoDoesNotSpeakIt) {
  Daemon daemon({"--tls-cert", Cert("server"), "--tls-key", Key("server")});
  ASSERT_FALSE(daemon.address().empty());
  EXPECT_TRUE(Reaches(daemon, ""));
  EXPECT_TRUE(ReachesByHttp(daemon, ""));
  EXPECT_EQ(support::Ask(daemon.http_address(),
                         "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
                .status,
            0);
  const auto plain =
      grpc::CreateChannel(daemon.address(), grpc::InsecureChannelCredentials());
  EXPECT_FALSE(
      CallWith(plain, "/inference.GRPCInferenceService/ServerLive", "").ok());
}

TEST_F(Tls, MutualKeepsOutStrangers) {
  Daemon daemon({"--tls-cert", Cert("server"), "--tls-key", Key("server"),
                 "--tls-client-ca", Cert("client")});
  ASSERT_FALSE(daemon.address().empty());
  EXPECT_TRUE(Reaches(daemon, "client"));
  EXPECT_FALSE(Reaches(daemon, "stranger"));
  EXPECT_FALSE(Reaches(daemon, ""));
  EXPECT_TRUE(ReachesByHttp(daemon, "client"));
  EXPECT_FALSE(ReachesByHttp(daemon, "stranger"));
  EXPECT_FALSE(ReachesByHttp(daemon, ""));
}

TEST_F(Tls, ClientsOverHttpMayResume) {
  Daemon daemon({"--tls-cert", Cert("server"), "--tls-key", Key("server"),
                 "--tls-client-ca", Cert("client")});
  ASSERT_FALSE(daemon.http_address().empty());
  const Finished finished =
      RunProgram({"/usr/bin/openssl", "s_client", "-connect",
                  daemon.http_address(), "-tls1_2", "-reconnect", "-cert",
                  Cert("client"), "-key", Key("client")});
  EXPECT_THAT(finished.out, HasSubstr("Reused, TLSv1.2"));
}

TEST_F(Tls, OldVersionsAreNotSpokenOverHttp) {
  Daemon daemon({"--tls-cert", Cert("server"), "--tls-key", Key("server")});
  const auto speaks = [&](const char* version) {
    return RunProgram({"/usr/bin/curl", "-sfk", "--max-time", "20", version,
                       "--tls-max", version + 6, "--ciphers", "ALL:@SECLEVEL=0",
                       absl::StrCat("https://", daemon.http_address(),
                                    "/v2/health/live")})
               .exit_code == 0;
  };
  EXPECT_FALSE(speaks("--tlsv1.1"));
  EXPECT_TRUE(speaks("--tlsv1.2"));
}

}  // namespace
}  // namespace quern::e2e
