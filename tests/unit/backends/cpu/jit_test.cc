// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/jit.h"

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/codegen.h"

namespace quern::cpu {
namespace {

using ::testing::HasSubstr;

// This machine without anything that not every one has.
const Isa kPlain = *ParseIsa(absl::StrCat(kHostArch, " "));

std::string ReturnText(int value) {
  return absl::StrCat("define i64 @answer() #0 { ret i64 ", value,
                      " }\nattributes #0 = { nounwind }\n");
}

std::string Object(const std::string& text) {
  absl::StatusOr<std::string> object = CompileToObject(text, kPlain);
  EXPECT_TRUE(object.ok()) << object.status();
  return object.ok() ? *object : "";
}

QUERN_CALLS_LINKED_CODE int64_t Call(const LinkedObject& object) {
  return reinterpret_cast<int64_t (*)()>(object.entry())();
}

TEST(Jit, RunsWhatItCompiled) {
  const absl::StatusOr<std::unique_ptr<LinkedObject>> linked =
      LinkObject(Object(ReturnText(42)), "answer");
  ASSERT_TRUE(linked.ok()) << linked.status();
  EXPECT_EQ(Call(**linked), 42);
}

TEST(Jit, LinksTwoObjectsWithTheSameName) {
  const auto first = LinkObject(Object(ReturnText(1)), "answer");
  const auto second = LinkObject(Object(ReturnText(2)), "answer");
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(Call(**first) + 10 * Call(**second), 21);
}

TEST(Jit, TurnsHostileTextIntoAStatus) {
  for (const char* text : {
           "",
           "\"",
           "define void @k(",
           "define void @k() { ret i32 0 }",
           "define void @k() { entry: br label %nowhere }",
           "define void @k() { %a = add i32 %b, 1  ret void }",
           "target datalayout = \"what\"",
           "\x01\x02\x03",
       }) {
    const absl::Status status = CompileToObject(text, kPlain).status();
    if (text[0] == '\0') {
      EXPECT_TRUE(status.ok()) << "an empty module is valid";
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    }
  }
}

TEST(Jit, NamesASymbolThatAKernelMayNotUse) {
  const std::string object = Object(
      "declare i32 @system(ptr)\n"
      "define i64 @answer() nounwind {\n"
      "  %r = call i32 @system(ptr null)\n  ret i64 0\n}\n");
  const absl::Status status = LinkObject(object, "answer").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("'system' is not allowed"));
}

TEST(Jit, OffersMemset) {
  const std::string object = Object(
      "declare ptr @memset(ptr, i32, i64)\n"
      "define i64 @answer() nounwind {\n"
      "  %p = alloca i64\n  store i64 -1, ptr %p\n"
      "  %r = call ptr @memset(ptr %p, i32 0, i64 7)\n"
      "  %v = load i64, ptr %p\n  ret i64 %v\n}\n");
  const absl::StatusOr<std::unique_ptr<LinkedObject>> linked =
      LinkObject(object, "answer");
  ASSERT_TRUE(linked.ok()) << linked.status();
  EXPECT_EQ(static_cast<uint64_t>(Call(**linked)), 0xff00000000000000);
}

TEST(Jit, TellsThatAnObjectLacksTheKernel) {
  EXPECT_THAT(LinkObject(Object(ReturnText(1)), "other").status().message(),
              HasSubstr("cannot link kernel other"));
}

TEST(Jit, TurnsDamagedObjectsIntoAStatus) {
  const std::string object = Object(ReturnText(1));
  EXPECT_FALSE(LinkObject("", "answer").ok());
  EXPECT_FALSE(LinkObject("not an object at all", "answer").ok());
  EXPECT_FALSE(LinkObject(object.substr(0, 100), "answer").ok());
  EXPECT_FALSE(DisassembleObject(object.substr(0, 40), kPlain).ok());
}

TEST(Jit, DisassemblesInIntelSyntax) {
  if (kHostArch != kX86) GTEST_SKIP() << "this is not an x86";
  const absl::StatusOr<std::string> code =
      DisassembleObject(Object(ReturnText(42)), kPlain);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_THAT(*code, HasSubstr("mov\teax, 42"));
  EXPECT_THAT(*code, HasSubstr("ret"));
}

TEST(Jit, SplitsTheBlobThatItMade) {
  const std::string blob = MakeBlob("+avx,+fma",
                                    "\x7f"
                                    "ELF\nmore");
  const absl::StatusOr<BlobParts> parts = SplitBlob(blob);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->isa, "+avx,+fma");
  EXPECT_EQ(parts->object,
            "\x7f"
            "ELF\nmore");
  EXPECT_EQ(SplitBlob("quern cpu").status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(SplitBlob("\x7f"
                      "ELF\n")
                .status()
                .code(),
            absl::StatusCode::kDataLoss);
}

TEST(Jit, CompilesAndLinksOnSeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int64_t> sums(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &sums] {
      for (int i = 0; i < 10; ++i) {
        const auto linked = LinkObject(Object(ReturnText(t)), "answer");
        if (linked.ok()) sums[t] += Call(**linked);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(sums, ::testing::ElementsAre(0, 10, 20, 30));
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(Jit, FreesTheCodeOfAnObjectThatIsGone) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer keeps freed memory";
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer keeps freed memory";
#endif
#endif
  const std::string object = Object(ReturnText(7));
  const auto cycles = [&](int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(LinkObject(object, "answer").ok());
    }
  };
  cycles(200);
  const int64_t before = ResidentBytes();
  cycles(2000);
  EXPECT_LT(ResidentBytes() - before, 1 << 20);
}

}  // namespace
}  // namespace quern::cpu
