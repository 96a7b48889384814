// SPDX-License-Identifier: Apache-2.0
//
// The HTTP server on real sockets, with peers that keep no rule.
#include "server/http/http_server.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/mutex.h"
#include "server/admission.h"
#include "tests/support/raw_client.h"
#include "tests/support/waiting.h"

namespace quern::server {
namespace {

using support::Ask;
using support::Becomes;
using support::HeaderOf;
using support::RawAnswer;
using support::RawClient;
using telemetry::Metric;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int64_t kBodyLimit = 1000;
constexpr char kGet[] = "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n";

std::string Post(absl::string_view body, absl::string_view path = "/echo") {
  return absl::StrCat("POST ", path,
                      " HTTP/1.1\r\nHost: h\r\nContent-Length: ", body.size(),
                      "\r\n\r\n", body);
}

std::string PostWith(absl::string_view headers, absl::string_view rest) {
  return absl::StrCat("POST /echo HTTP/1.1\r\nHost: h\r\n", headers, "\r\n",
                      rest);
}

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    options_.address = "127.0.0.1:0";
    options_.listener = "http";
    options_.flag = "--http-address";
    options_.admission = &admission_;
  }
  ~HttpServerTest() override {
    server_.reset();
    held_ = nullptr;
  }

  void Start() {
    auto server = StartHttpServer(
        options_, [this](const HttpRequest& head) { return Route(head); },
        &metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // "/echo" tells what came, "/hold" answers when the test does, and others
  // fail in their ways.
  std::variant<HttpRoute, HttpResponse> Route(const HttpRequest& head) {
    if (head.path == "/none") return HttpError(404, "there is nothing");
    HttpRoute route;
    route.max_body_bytes = head.path == "/large" ? 100'000'000 : kBodyLimit;
    route.limit_flag = "--flag-of-the-limit";
    route.handle = [this](HttpRequest request, const HttpReply& reply) {
      ++handled_;
      if (request.path == "/throw") throw std::bad_alloc();
      if (request.path == "/drop") return;
      if (request.path == "/hold") {
        const base::MutexLock lock(&mutex_);
        held_ = reply;
        held_request_ = std::move(request);
        return;
      }
      HttpResponse response;
      response.body =
          absl::StrCat(request.method, " ", request.path, " ",
                       request.path == "/large" ? "" : request.body);
      if (request.path == "/much") {
        response.parts = {std::string(30'000'000, 'x'), "end"};
      }
      reply(std::move(response));
    };
    return route;
  }

  bool Holds() {
    return Becomes([this] {
      const base::MutexLock lock(&mutex_);
      return held_ != nullptr;
    });
  }
  void AnswerHeld(const std::string& body) {
    HttpReply reply;
    {
      const base::MutexLock lock(&mutex_);
      reply = std::exchange(held_, nullptr);
    }
    HttpResponse response;
    response.body = body;
    reply(std::move(response));
  }

  double Count(Metric metric, const telemetry::Metrics::Labels& labels = {}) {
    return metrics_.GetNumber(metric, labels)->Get();
  }
  bool BecomesConnections(double count) {
    return Becomes(
        [&] { return Count(Metric::kHttpConnections, {"http"}) == count; });
  }

  const std::string& address() const { return server_->address(); }

  telemetry::Metrics metrics_;
  Admission admission_{{.pending_per_model = 10, .bytes_in_flight = 100'000},
                       &metrics_};
  HttpServerOptions options_;
  std::atomic<int> handled_ = 0;
  base::Mutex mutex_;
  HttpReply held_;
  HttpRequest held_request_;
  std::unique_ptr<Listener> server_;
};

TEST_F(HttpServerTest, AnswersOneRequestAfterTheOther) {
  Start();
  RawClient client(address());
  for (const char* body : {"one", "", "three"}) {
    ASSERT_TRUE(client.Send(Post(body)));
    const RawAnswer answer = client.Read();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, absl::StrCat("POST /echo ", body));
    EXPECT_EQ(HeaderOf(answer, "connection"), "keep-alive");
  }
  EXPECT_EQ(Count(Metric::kHttpRequests, {"http", "200"}), 3);
  EXPECT_TRUE(BecomesConnections(1));
  client.Close();
  EXPECT_TRUE(BecomesConnections(0));
}

TEST_F(HttpServerTest, AnswersRequestsThatDidNotWaitInOrder) {
  Start();
  RawClient client(address());
  std::string all;
  for (int i = 0; i < 50; ++i) all += Post(absl::StrCat(i));
  ASSERT_TRUE(client.Send(all));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client.Read().body, absl::StrCat("POST /echo ", i));
  }
}

TEST_F(HttpServerTest, TakesARequestByteByByte) {
  Start();
  RawClient client(address());
  for (const char c : Post("slow")) ASSERT_TRUE(client.Send({&c, 1}));
  EXPECT_EQ(client.Read().body, "POST /echo slow");
}

TEST_F(HttpServerTest, TakesChunks) {
  Start();
  const RawAnswer answer =
      Ask(address(), PostWith("Transfer-Encoding: chunked\r\n",
                              "3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: "
                              "is dropped\r\n\r\n"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "POST /echo abcde");
}

TEST_F(HttpServerTest, KnowsAPathByItself) {
  Start();
  for (const char* target :
       {"/echo", "/echo?a=b", "http://host/echo", "HTTP://host:80/echo?x"}) {
    EXPECT_EQ(Ask(address(),
                  absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: h\r\n\r\n"))
                  .body,
              "GET /echo ")
        << target;
  }
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  Start();
  RawClient client(address());
  client.Send("HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  const RawAnswer answer = client.Read(/*head_only=*/true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(HeaderOf(answer, "content-length"), "11");
  client.Send(kGet);
  EXPECT_EQ(client.Read().body, "GET /echo ");
}

TEST_F(HttpServerTest, ClosesAfterHttp10UnlessItIsAskedNotTo) {
  Start();
  RawClient once(address());
  once.Send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(once.Read().status, 200);
  EXPECT_TRUE(once.Ends());
  RawClient twice(address());
  for (int i = 0; i < 2; ++i) {
    twice.Send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const RawAnswer answer = twice.Read();
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(answer.head, HasSubstr("Connection: keep-alive"));
  }
  RawClient last(address());
  last.Send("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(last.Read().head, HasSubstr("Connection: close"));
  EXPECT_TRUE(last.Ends());
}

TEST_F(HttpServerTest, AsksForABodyThatWaits) {
  Start();
  RawClient client(address());
  client.Send(PostWith("Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
  EXPECT_EQ(client.Read(/*head_only=*/true).status, 100);
  client.Send("abc");
  EXPECT_EQ(client.Read().body, "POST /echo abc");
  // A body that is refused is not asked for.
  client.Send(PostWith("Content-Length: 3000\r\nExpect: 100-continue\r\n", ""));
  EXPECT_EQ(client.Read().status, 413);
  EXPECT_EQ(Ask(address(), PostWith("Content-Length: 1\r\nExpect: x\r\n", "a"))
                .status,
            417);
}

// Where two readers of the same bytes could see two requests there is none: the
// first is refused and what follows is not looked at.
TEST_F(HttpServerTest, RefusesWhatTwoReadersCouldReadDifferently) {
  Start();
  struct Case {
    const char* name;
    std::string request;
    int status = 400;
  };
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  const Case cases[] = {
      {"two lengths",
       PostWith("Content-Length: 1\r\nContent-Length: 2\r\n", "ab")},
      {"the same length twice",
       PostWith("Content-Length: 1\r\nContent-Length: 1\r\n", "a")},
      {"a list of lengths", PostWith("Content-Length: 1, 1\r\n", "a")},
      {"length and chunks",
       PostWith("Content-Length: 5\r\n" + chunked, "0\r\n\r\n")},
      {"chunks and length",
       PostWith(chunked + "Content-Length: 5\r\n", "0\r\n\r\n")},
      {"chunked twice", PostWith(chunked + chunked, "0\r\n\r\n")},
      {"gzip of chunks",
       PostWith("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")},
      {"chunks of chunks",
       PostWith("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")},
      {"another transfer encoding",
       PostWith("Transfer-Encoding: identity\r\n", "")},
      {"xchunked", PostWith("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")},
      {"chunks in HTTP/1.0",
       "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a space before the colon", PostWith("Content-Length : 1\r\n", "a")},
      {"a signed length", PostWith("Content-Length: +1\r\n", "a")},
      {"a negative length", PostWith("Content-Length: -1\r\n", "")},
      {"a length in hex", PostWith("Content-Length: 0x1\r\n", "a")},
      {"an empty length", PostWith("Content-Length: \r\n", "")},
      {"a length beyond 64 bits",
       PostWith("Content-Length: 18446744073709551617\r\n", "a")},
      {"bare line feeds", "POST /echo HTTP/1.1\nHost: h\n\n"},
      {"a bare line feed in a header",
       PostWith("X: a\nContent-Length: 1\r\n", "a")},
      {"a NUL in a header", PostWith(absl::string_view("X: a\0b\r\n", 8), "")},
      {"a NUL in the path",
       std::string("GET /e\0cho HTTP/1.1\r\nHost: h\r\n\r\n", 32)},
      {"no host", "GET /echo HTTP/1.1\r\n\r\n"},
      {"two hosts", "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {"two tokens", PostWith("Authorization: Bearer a\r\n"
                              "Authorization: Bearer b\r\n",
                              "")},
      {"two lengths of JSON", PostWith("Inference-Header-Content-Length: 1\r\n"
                                       "Inference-Header-Content-Length: 2\r\n",
                                       "")},
      {"no HTTP", "hello\r\n\r\n"},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) +
                  std::string(100, 'a') + "\r\n\r\n"},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"no chunk size", PostWith(chunked, "zz\r\nab\r\n0\r\n\r\n")},
      {"a negative chunk", PostWith(chunked, "-1\r\nab\r\n0\r\n\r\n")},
      {"a chunk beyond 64 bits",
       PostWith(chunked, "10000000000000001\r\na\r\n0\r\n\r\n")},
      {"a chunk longer than it says",
       PostWith(chunked, "1\r\nab\r\n0\r\n\r\n")},
      {"a packed body",
       PostWith("Content-Encoding: gzip\r\n"
                "Content-Length: 1\r\n",
                "a"),
       415},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    handled_ = 0;
    RawClient client(address());
    client.Send(absl::StrCat(c.request, kGet));
    const RawAnswer answer = client.Read();
    EXPECT_EQ(answer.status, c.status) << answer.head;
    EXPECT_THAT(answer.body, StartsWith("{\"error\":\""));
    EXPECT_EQ(handled_, 0);
    EXPECT_EQ(HeaderOf(answer, "connection"), "close");
    client.EndSending();
    EXPECT_TRUE(client.Ends());
  }
}

TEST_F(HttpServerTest, RefusesHeadsOverTheLimit) {
  options_.max_header_bytes = 2000;
  Start();
  std::string many = "GET /echo HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&many, "A", i, ": b\r\n");
  const std::string heads[] = {
      many,
      absl::StrCat("GET /echo HTTP/1.1\r\nHost: h\r\nX: ",
                   std::string(5000, 'x'), "\r\n\r\n"),
      absl::StrCat("GET /", std::string(5000, 'x'),
                   " HTTP/1.1\r\nHost: h\r\n\r\n"),
      // Without an end.
      absl::StrCat("GET /", std::string(5000, 'x')),
      absl::StrCat("GET /echo HTTP/1.1\r\nHost: h\r\nX: ",
                   std::string(5000, 'x')),
  };
  for (const std::string& head : heads) {
    const RawAnswer answer = Ask(address(), head);
    EXPECT_EQ(answer.status, 431) << head.substr(0, 40);
    EXPECT_THAT(answer.body, HasSubstr("2000 bytes (--http-max-header-bytes)"));
  }
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(Ask(address(), kGet).status, 200);
}

TEST_F(HttpServerTest, RefusesBodiesOverTheLimitOfTheirRoute) {
  Start();
  EXPECT_EQ(Ask(address(), Post(std::string(kBodyLimit, 'a'))).status, 200);
  RawClient announced(address());
  announced.Send(PostWith("Content-Length: 1001\r\n", ""));
  const RawAnswer answer = announced.Read();
  EXPECT_EQ(answer.status, 413);
  EXPECT_THAT(answer.body, HasSubstr("1000 bytes (--flag-of-the-limit)"));
  EXPECT_THAT(answer.head, HasSubstr("Connection: close"));
  const std::string chunk =
      absl::StrCat("1f4\r\n", std::string(500, 'a'), "\r\n");
  EXPECT_EQ(Ask(address(), PostWith("Transfer-Encoding: chunked\r\n",
                                    absl::StrCat(chunk, chunk, "0\r\n\r\n")))
                .status,
            200);
  EXPECT_EQ(Ask(address(), PostWith("Transfer-Encoding: chunked\r\n",
                                    absl::StrCat(chunk, chunk, "1\r\na\r\n")))
                .status,
            413);
}

TEST_F(HttpServerTest, ALargeBodyThatIsRefusedWhileItIsSentGetsItsAnswer) {
  Start();
  RawClient client(address());
  client.Send(
      PostWith("Content-Length: 5000000\r\n", std::string(500'000, 'a')));
  EXPECT_EQ(client.Read().status, 413);
}

// A body counts by what has come of it, not by what it announces.
TEST_F(HttpServerTest, BodiesCountAmongTheBytesInFlight) {
  options_.read_timeout = absl::Seconds(20);
  Start();
  // One that is alone may be larger: no request is refused for ever.
  EXPECT_EQ(Ask(address(), Post(std::string(150'000, 'a'), "/large")).status,
            200);
  RawClient announces(address());
  announces.Send(
      "POST /large HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n");
  EXPECT_EQ(Ask(address(), Post(std::string(60'000, 'a'), "/large")).status,
            200);
  // The room of a request is given back after its answer.
  EXPECT_TRUE(
      Becomes([&] { return Count(Metric::kRequestBytesInFlight) == 0; }));
  announces.Send(std::string(60'000, 'a'));
  EXPECT_TRUE(
      Becomes([&] { return Count(Metric::kRequestBytesInFlight) == 60'000; }));
  const std::string chunk =
      absl::StrCat("c350\r\n", std::string(50'000, 'a'), "\r\n");
  for (const std::string& request :
       {Post(std::string(60'000, 'a'), "/large"),
        absl::StrCat("POST /large HTTP/1.1\r\nHost: h\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n",
                     chunk)}) {
    RawClient second(address());
    second.Send(request);
    const RawAnswer answer = second.Read();
    EXPECT_EQ(answer.status, 429);
    EXPECT_EQ(HeaderOf(answer, "retry-after"), "1");
    EXPECT_THAT(answer.body, HasSubstr("--max-bytes-in-flight"));
  }
  EXPECT_EQ(Count(Metric::kRejectedRequests, {"limit"}), 2);
  announces.Send(std::string(30'000, 'a'));
  EXPECT_EQ(announces.Read().status, 200);
  EXPECT_TRUE(
      Becomes([&] { return Count(Metric::kRequestBytesInFlight) == 0; }));
}

TEST_F(HttpServerTest, ABodyThatIsCutOffGivesItsBytesBack) {
  Start();
  RawClient client(address());
  client.Send(PostWith("Content-Length: 900\r\n", std::string(500, 'a')));
  EXPECT_TRUE(
      Becomes([&] { return Count(Metric::kRequestBytesInFlight) == 500; }));
  client.Close();
  EXPECT_TRUE(
      Becomes([&] { return Count(Metric::kRequestBytesInFlight) == 0; }));
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, APeerWithoutAWordIsClosed) {
  options_.idle_timeout = absl::Milliseconds(150);
  Start();
  RawClient client(address());
  EXPECT_TRUE(client.Ends());
  RawClient after(address());
  after.Send(kGet);
  EXPECT_EQ(after.Read().status, 200);
  EXPECT_TRUE(after.Ends());
}

// Does something every 20 ms, longer than any timeout here, until it is
// destroyed.
class Slowly {
 public:
  explicit Slowly(std::function<void()> step)
      : thread_([this, step = std::move(step)] {
          for (int i = 0; i < 250 && !ended_; ++i) {
            step();
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        }) {}
  ~Slowly() {
    ended_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

constexpr absl::Duration kLongAgo = absl::Seconds(3);

// One byte now and then does not keep a connection.
TEST_F(HttpServerTest, AHeadHasAFixedTime) {
  options_.read_timeout = absl::Milliseconds(200);
  Start();
  RawClient client(address());
  const absl::Time begin = absl::Now();
  client.Send("GET /echo HTTP/1.1\r\nHost: h\r\nX: ");
  const Slowly sends([&] { client.Send("x"); });
  EXPECT_EQ(client.Read().status, 408);
  EXPECT_LT(absl::Now() - begin, kLongAgo);
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, ABodyHasTheTimeOfItsBytesAtTheLeastRate) {
  options_.read_timeout = absl::Milliseconds(200);
  options_.least_bytes_per_second = 1000;
  Start();
  // 100 bytes every 50 ms are 2000 a second: long after 200 ms it is taken.
  RawClient steady(address());
  steady.Send(PostWith("Content-Length: 1000\r\n", ""));
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_TRUE(steady.Send(std::string(100, 'a')));
  }
  EXPECT_EQ(steady.Read().status, 200);
  // A byte every 20 ms is less than 50 a second.
  RawClient trickle(address());
  const absl::Time begin = absl::Now();
  trickle.Send(PostWith("Content-Length: 1000\r\n", ""));
  const Slowly sends([&] { trickle.Send("a"); });
  EXPECT_EQ(trickle.Read().status, 408);
  EXPECT_LT(absl::Now() - begin, kLongAgo);
  EXPECT_EQ(handled_, 1);
}

TEST_F(HttpServerTest, APeerThatIsSlowToTakeItsAnswerIsClosed) {
  options_.write_timeout = absl::Milliseconds(400);
  // So that what the system takes in for it buys little time.
  options_.least_bytes_per_second = int64_t{1} << 30;
  Start();
  RawClient never(address(), /*receive_bytes=*/4096);
  RawClient slow(address(), /*receive_bytes=*/1'000'000);
  const absl::Time begin = absl::Now();
  for (RawClient* client : {&never, &slow}) {
    client->Send("GET /much HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  const Slowly takes([&] { slow.Take(200'000); });
  EXPECT_TRUE(Becomes([&] { return handled_ == 2; }));
  EXPECT_TRUE(BecomesConnections(0));
  EXPECT_LT(absl::Now() - begin, kLongAgo);
}

TEST_F(HttpServerTest, SendsALongAnswerInItsParts) {
  Start();
  const RawAnswer answer =
      Ask(address(), "GET /much HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(answer.body,
            absl::StrCat("GET /much ", std::string(30'000'000, 'x'), "end"));
}

TEST_F(HttpServerTest, ARequestKnowsThatItsPeerHasGone) {
  Start();
  RawClient client(address());
  client.Send(Post("", "/hold"));
  ASSERT_TRUE(Holds());
  EXPECT_FALSE(held_request_.cancelled());
  client.Close();
  EXPECT_TRUE(Becomes([&] { return held_request_.cancelled(); }));
  AnswerHeld("to nobody");
  EXPECT_TRUE(BecomesConnections(0));
}

TEST_F(HttpServerTest, APeerThatOnlyEndedSendingGetsItsAnswer) {
  Start();
  RawClient client(address());
  client.Send(Post("", "/hold"));
  ASSERT_TRUE(Holds());
  client.EndSending();
  EXPECT_TRUE(Becomes([&] { return held_request_.cancelled(); }));
  AnswerHeld("still");
  EXPECT_EQ(client.Read().body, "still");
  EXPECT_TRUE(client.Ends());
}

TEST_F(HttpServerTest, APeerThatLeavesAtAnyByteCostsNothing) {
  Start();
  const std::string request =
      PostWith("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
  for (size_t length = 0; length <= request.size(); ++length) {
    RawClient client(address());
    client.Send(request.substr(0, length));
  }
  EXPECT_TRUE(BecomesConnections(0));
  EXPECT_EQ(Ask(address(), kGet).status, 200);
}

TEST_F(HttpServerTest, WhoHasWaitedLongestGivesWayAtTheLimit) {
  options_.max_connections = 3;
  Start();
  RawClient held(address());
  held.Send(Post("", "/hold"));
  EXPECT_TRUE(Holds());
  RawClient begun(address());
  begun.Send("GET /echo HTTP/1.1\r\nHost:");
  RawClient idle(address());
  EXPECT_TRUE(BecomesConnections(3));
  idle.Send(kGet);
  EXPECT_EQ(idle.Read().status, 200);
  EXPECT_EQ(Ask(address(), kGet).status, 200);
  EXPECT_TRUE(begun.Ends());
  EXPECT_EQ(Count(Metric::kHttpEvictedConnections, {"http"}), 1);
  idle.Send(kGet);
  EXPECT_EQ(idle.Read().status, 200);
  AnswerHeld("late");
  EXPECT_EQ(held.Read().body, "late");
}

TEST_F(HttpServerTest, TurnsAwayConnectionsOverTheLimitIfAllHaveRequests) {
  options_.max_connections = 2;
  Start();
  RawClient first(address());
  first.Send(Post("", "/hold"));
  EXPECT_TRUE(Holds());
  RawClient second(address());
  second.Send(PostWith("Content-Length: 900\r\n", "a"));
  EXPECT_TRUE(
      Becomes([&] { return Count(Metric::kRequestBytesInFlight) == 1; }));
  RawClient third(address());
  const RawAnswer answer = third.Read();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(HeaderOf(answer, "retry-after"), "1");
  EXPECT_THAT(answer.body, HasSubstr("--http-max-connections"));
  EXPECT_TRUE(third.Ends());
  EXPECT_EQ(Count(Metric::kHttpRequests, {"http", "503"}), 1);
  EXPECT_EQ(Count(Metric::kHttpEvictedConnections, {"http"}), 0);
  second.Close();
  EXPECT_TRUE(BecomesConnections(1));
  EXPECT_EQ(Ask(address(), kGet).status, 200);
  AnswerHeld("");
}

TEST_F(HttpServerTest, ARouteThatFailsFailsOneRequest) {
  Start();
  RawClient client(address());
  for (const char* path : {"/throw", "/drop"}) {
    client.Send(Post("", path));
    EXPECT_EQ(client.Read().status, 500) << path;
  }
  client.Send(Post("", "/none"));
  EXPECT_EQ(client.Read().status, 404);
  client.Send(kGet);
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(HttpServerTest, DrainingLetsWhatWasBegunFinishAndNothingElse) {
  Start();
  RawClient idle(address());
  idle.Send(kGet);
  EXPECT_EQ(idle.Read().status, 200);
  RawClient busy(address());
  busy.Send(absl::StrCat(Post("", "/hold"), kGet));
  ASSERT_TRUE(Holds());
  server_->Drain();
  EXPECT_TRUE(idle.Ends());
  EXPECT_TRUE(Becomes([&] { return !RawClient(address()).connected(); }));
  AnswerHeld("done");
  const RawAnswer answer = busy.Read();
  EXPECT_EQ(answer.body, "done");
  EXPECT_EQ(HeaderOf(answer, "connection"), "close");
  EXPECT_TRUE(busy.Ends());
  const absl::Time begin = absl::Now();
  server_->Stop(begin + absl::Seconds(20));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
}

TEST_F(HttpServerTest, StoppingEndsWhatIsNotDoneInTime) {
  Start();
  RawClient busy(address());
  busy.Send(Post("", "/hold"));
  ASSERT_TRUE(Holds());
  RawClient sends(address());
  sends.Send(PostWith("Content-Length: 900\r\n", "a"));
  const absl::Time begin = absl::Now();
  server_->Stop(begin + absl::Milliseconds(200));
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(190));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  EXPECT_TRUE(held_request_.cancelled());
  EXPECT_TRUE(busy.Ends());
  EXPECT_TRUE(sends.Ends());
  AnswerHeld("too late");
}

TEST_F(HttpServerTest, SaysWhichAddressItCannotHave) {
  Start();
  HttpServerOptions second = options_;
  second.address = address();
  const auto server = StartHttpServer(second, nullptr, &metrics_);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(
      server.status().message(),
      HasSubstr(absl::StrCat("--http-address: cannot listen at ", address())));
  HttpServerOptions secure = options_;
  secure.tls_cert = "/nonexistent.pem";
  const auto unreadable = StartHttpServer(secure, nullptr, &metrics_);
  EXPECT_EQ(unreadable.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(unreadable.status().message(), HasSubstr("--tls-cert"));
}

}  // namespace
}  // namespace quern::server
