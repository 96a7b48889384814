// SPDX-License-Identifier: Apache-2.0
//
// The listener on real sockets, with a stand-in for gRPC that keeps what it is
// given.
#include "server/grpc_listener.h"

#include <functional>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "engine/base/mutex.h"
#include "tests/support/raw_client.h"

namespace quern::server {
namespace {

using support::RawClient;
using telemetry::Metric;
using ::testing::HasSubstr;

struct Given {
  base::Mutex mutex;
  std::vector<int> sockets;

  size_t count() {
    const base::MutexLock lock(&mutex);
    return sockets.size();
  }
  // As gRPC ends a connection.
  void EndFirst() {
    const base::MutexLock lock(&mutex);
    shutdown(sockets.front(), SHUT_RDWR);
    close(sockets.front());
    sockets.erase(sockets.begin());
  }
  ~Given() {
    for (int socket : sockets) close(socket);
  }
};

class Keeper final : public grpc::experimental::ExternalConnectionAcceptor {
 public:
  explicit Keeper(Given* given) : given_(*given) {}
  void HandleNewConnection(NewConnectionParameters* connection) override {
    const base::MutexLock lock(&given_.mutex);
    given_.sockets.push_back(connection->fd);
  }

 private:
  Given& given_;
};

bool Becomes(const std::function<bool()>& condition) {
  for (int i = 0; i < 400 && !condition(); ++i) {
    absl::SleepFor(absl::Milliseconds(25));
  }
  return condition();
}

class GrpcListenerTest : public ::testing::Test {
 protected:
  void Start(const std::string& address = "127.0.0.1:0") {
    auto listener = GrpcListener::Bind(
        {.address = address, .max_connections = 2}, &metrics_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    listener_->Serve(std::make_unique<Keeper>(&given_));
  }

  double Count(Metric metric) { return metrics_.GetNumber(metric)->Get(); }
  bool BecomesOpen(double count) {
    return Becomes([&] { return Count(Metric::kGrpcConnections) == count; });
  }
  const std::string& address() const { return listener_->address(); }

  telemetry::Metrics metrics_;
  Given given_;
  std::unique_ptr<GrpcListener> listener_;
};

TEST_F(GrpcListenerTest, ClosesConnectionsOverTheLimit) {
  Start();
  RawClient first(address());
  RawClient second(address());
  ASSERT_TRUE(Becomes([&] { return given_.count() == 2; }));
  RawClient third(address());
  EXPECT_TRUE(third.Ends());
  EXPECT_EQ(Count(Metric::kGrpcRefusedConnections), 1);
  EXPECT_EQ(Count(Metric::kGrpcConnections), 2);
  EXPECT_EQ(given_.count(), 2u);
}

TEST_F(GrpcListenerTest, NoticesThatGrpcHasEndedAConnection) {
  Start();
  RawClient first(address());
  ASSERT_TRUE(Becomes([&] { return given_.count() == 1; }));
  RawClient second(address());
  ASSERT_TRUE(Becomes([&] { return given_.count() == 2; }));
  given_.EndFirst();
  EXPECT_TRUE(first.Ends());
  first.Close();
  EXPECT_TRUE(BecomesOpen(1));
  RawClient third(address());
  EXPECT_TRUE(BecomesOpen(2));
  EXPECT_EQ(given_.count(), 2u);
}

// The descriptor that gRPC has open after the peer hung up is not ours to
// close, whatever its number was before.
TEST_F(GrpcListenerTest, AHangUpEndsNoConnectionButItsOwn) {
  Start();
  for (int i = 0; i < 50; ++i) {
    RawClient client(address());
    ASSERT_TRUE(BecomesOpen(1));
    {
      const base::MutexLock lock(&given_.mutex);
      // Both directions are shut, and gRPC has not closed it yet.
      shutdown(given_.sockets.back(), SHUT_RDWR);
    }
    ASSERT_TRUE(BecomesOpen(0));
    RawClient next(address());
    ASSERT_TRUE(BecomesOpen(1));
    absl::SleepFor(absl::Milliseconds(2));
    ASSERT_EQ(Count(Metric::kGrpcConnections), 1);
    given_.EndFirst();
    given_.EndFirst();
    next.Close();
    ASSERT_TRUE(BecomesOpen(0));
  }
}

TEST_F(GrpcListenerTest, LivesOnWithoutFileDescriptors) {
  Start();
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const int next = dup(0);
  close(next);
  // Room for the client's socket, and none for the server's.
  const rlimit few = {.rlim_cur = static_cast<rlim_t>(next) + 1,
                      .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  RawClient late(address());
  EXPECT_TRUE(late.connected());
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(given_.count(), 0u);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(Becomes([&] { return given_.count() == 1; }));
}

TEST_F(GrpcListenerTest, NobodyComesInAfterItIsStopped) {
  Start();
  RawClient before(address());
  ASSERT_TRUE(BecomesOpen(1));
  listener_->Stop();
  EXPECT_FALSE(RawClient(address()).connected());
  EXPECT_TRUE(before.Send("x"));
}

TEST_F(GrpcListenerTest, ASocketOfTheFileSystemIsTakenFromTheDeadOnly) {
  const std::string path =
      absl::StrCat("unix:", ::testing::TempDir(), "/listener-", getpid());
  Start(path);
  EXPECT_EQ(address(), path);
  const auto second = GrpcListener::Bind({.address = path}, &metrics_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("--grpc-address"));
  listener_ = nullptr;
  EXPECT_TRUE(GrpcListener::Bind({.address = path}, &metrics_).ok());
}

TEST_F(GrpcListenerTest, SaysWhichAddressItCannotHave) {
  Start();
  for (const std::string& taken :
       {address(), std::string("256.0.0.1:1"), std::string("a.invalid:1"),
        absl::StrCat("unix:/", std::string(200, 'a'))}) {
    const auto second = GrpcListener::Bind({.address = taken}, &metrics_);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(second.status().message(), HasSubstr(taken));
  }
}

}  // namespace
}  // namespace quern::server
