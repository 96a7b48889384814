// SPDX-License-Identifier: Apache-2.0
#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ParsedConfig Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "quernd");
  return ParseConfig(static_cast<int>(flags.size()), flags.data());
}

TEST(Config, HasTheDocumentedDefaults) {
  const ParsedConfig parsed = Parse({});
  EXPECT_EQ(parsed.message, "");
  EXPECT_EQ(parsed.config.grpc_address, "127.0.0.1:8001");
  EXPECT_EQ(parsed.config.http_address, "127.0.0.1:8000");
  EXPECT_EQ(parsed.config.metrics_address, "127.0.0.1:8002");
  EXPECT_EQ(parsed.config.max_message_bytes, int64_t{512} << 20);
  EXPECT_THAT(parsed.config.devices, ElementsAre("auto"));
}

TEST(Config, TakesListsAndTheLastOfTwo) {
  const ParsedConfig parsed =
      Parse({"--devices", "cpu,ref", "--threads", "2", "--threads", "3"});
  EXPECT_EQ(parsed.message, "");
  EXPECT_THAT(parsed.config.devices, ElementsAre("cpu", "ref"));
  EXPECT_EQ(parsed.config.threads, 3);
}

TEST(Config, ACacheCanBeTurnedOff) {
  EXPECT_EQ(Parse({"--cache-dir", ""}).config.cache_dir, "");
}

TEST(Config, NamesTheFlagThatIsWrong) {
  struct Case {
    std::vector<const char*> flags;
    const char* message;
  };
  const Case cases[] = {
      {{"--grpc-address", "8001"}, "--grpc-address: expected HOST:PORT"},
      {{"--metrics-address", "unix:/a"}, "--metrics-address: expected"},
      {{"--http-address", "8000"}, "--http-address: expected HOST:PORT"},
      {{"--http-address", "0.0.0.0:8000"},
       "--http-address 0.0.0.0:8000 is open"},
      {{"--request-threads", "0"}, "--request-threads"},
      {{"--grpc-max-connections", "0"}, "--grpc-max-connections"},
      {{"--grpc-max-streams", "0"}, "--grpc-max-streams"},
      {{"--grpc-handshake-timeout", "0"}, "--grpc-handshake-timeout"},
      {{"--grpc-idle-timeout", "0"}, "--grpc-idle-timeout"},
      {{"--http-max-connections", "0"}, "--http-max-connections"},
      {{"--http-max-header-bytes", "10"}, "--http-max-header-bytes"},
      {{"--http-max-json-bytes", "0"}, "--http-max-json-bytes"},
      {{"--http-idle-timeout", "0"}, "--http-idle-timeout"},
      {{"--http-read-timeout", "0"}, "--http-read-timeout"},
      {{"--http-write-timeout", "0"}, "--http-write-timeout"},
      {{"--max-message-bytes", "9999999999"}, "--max-message-bytes"},
      {{"--jit-in-request", "perhaps"}, "--jit-in-request"},
      {{"--nonsense"}, "--nonsense"},
  };
  for (const Case& c : cases) {
    const ParsedConfig parsed = Parse(c.flags);
    EXPECT_EQ(parsed.exit_code, 1) << c.message;
    EXPECT_THAT(parsed.message, HasSubstr(c.message));
  }
}

TEST(Config, OnlyLoopbackIsOpenToEverybodyWithoutAWord) {
  for (const char* local : {"127.0.0.1:0", "127.8.9.10:1", "localhost:0",
                            "[::1]:0", "unix:/tmp/socket"}) {
    EXPECT_EQ(Parse({"--grpc-address", local}).message, "") << local;
  }
  for (const char* open : {"0.0.0.0:0", "127.example.com:0", "127.0.0.1.a:0",
                           "[::]:0", "192.168.0.1:0", "localhost.a:0"}) {
    EXPECT_THAT(Parse({"--grpc-address", open}).message,
                HasSubstr("is open to others"))
        << open;
    EXPECT_EQ(Parse({"--grpc-address", open, "--allow-insecure"}).message, "");
  }
}

TEST(Config, HelpAndVersionEndWell) {
  EXPECT_THAT(Parse({"--help"}).message, HasSubstr("--model-repository"));
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_THAT(Parse({"--version"}).message, ::testing::StartsWith("quernd 0."));
  EXPECT_EQ(Parse({"--version"}).exit_code, 0);
}

}  // namespace
}  // namespace quern::server
