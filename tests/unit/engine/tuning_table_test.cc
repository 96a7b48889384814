// SPDX-License-Identifier: Apache-2.0
#include "engine/tuning_table.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TunedChoice Choice(const std::string& device, const std::string& kernel,
                   const std::string& choice) {
  return {
      device, kernel, choice, {20, 5000.5, 5100, 30.25}, {20, 4000, 4100, 7}};
}

class TuningTables : public ::testing::Test {
 protected:
  TuningTables() { std::filesystem::remove(path_); }
  ~TuningTables() override { std::filesystem::remove(path_); }

  static std::unique_ptr<TuningTable> Open(const std::string& path) {
    auto table = TuningTable::Open(path);
    EXPECT_TRUE(table.ok()) << table.status();
    return *std::move(table);
  }
  void Write(const std::string& text) { std::ofstream(path_) << text; }

  const std::string path_ = ::testing::TempDir() + "/tuning_table_test.tsv";
};

TEST_F(TuningTables, KeepTheLastChoiceForEachKernelOfADevice) {
  const auto table = Open("");
  ASSERT_TRUE(
      table->Add({Choice("a", "k1", "x"), Choice("b", "k1", "y")}).ok());
  ASSERT_TRUE(
      table->Add({Choice("a", "k1", "z"), Choice("a", "k2", "y")}).ok());
  EXPECT_THAT(*table->ChoicesFor("a"),
              ElementsAre(Pair("k1", "z"), Pair("k2", "y")));
  EXPECT_THAT(*table->ChoicesFor("b"), ElementsAre(Pair("k1", "y")));
  EXPECT_THAT(*table->ChoicesFor("c"), IsEmpty());
}

TEST_F(TuningTables, SurviveTheProcess) {
  ASSERT_TRUE(Open(path_)->Add({Choice("a", "k1", "x")}).ok());
  EXPECT_THAT(*Open(path_)->ChoicesFor("a"), ElementsAre(Pair("k1", "x")));
}

TEST_F(TuningTables, ShareAFile) {
  const auto one = Open(path_);
  const auto two = Open(path_);
  ASSERT_TRUE(one->Add({Choice("a", "k1", "x")}).ok());
  ASSERT_TRUE(two->Add({Choice("a", "k2", "y")}).ok());
  EXPECT_THAT(*Open(path_)->ChoicesFor("a"),
              ElementsAre(Pair("k1", "x"), Pair("k2", "y")));
}

TEST_F(TuningTables, GiveOthersWhatTheyHave) {
  const auto one = Open("");
  ASSERT_TRUE(one->Add({Choice("a", "k1", "x"), Choice("b", "k1", "y")}).ok());
  const auto two = Open(path_);
  const auto count = two->Import(one->Export());
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(*count, 2);
  EXPECT_EQ(two->Export(), one->Export());
}

TEST_F(TuningTables, TakeNothingOfATextThatIsNoTable) {
  const std::string good = [] {
    const auto table = Open("");
    EXPECT_TRUE(table->Add({Choice("a", "k1", "x")}).ok());
    return table->Export();
  }();
  const auto table = Open("");
  for (const std::string& text :
       {std::string(), std::string("quern tuning 2\n"), good + "a\tk2\tx\n",
        good + "a\tk\tx\t20\t5\t5\tnan\t20\t4\t4\t7\n",
        good + "a\tk\tx\t-1\t5\t5\t1\t20\t4\t4\t7\n",
        good + "\tk\tx\t1\t5\t5\t1\t20\t4\t4\t7\n",
        good + std::string("\0", 1)}) {
    const absl::Status status = table->Import(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(*table->ChoicesFor("a"), IsEmpty());
}

TEST_F(TuningTables, SayWhichLineOfAFileIsWrong) {
  Write("quern tuning 1\nwhat\n");
  const absl::Status status = TuningTable::Open(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr(path_ + ": line 2 is 'what'"));
  EXPECT_THAT(status.message(), HasSubstr("mend or delete it"));
}

TEST_F(TuningTables, TakeNoMoreThanCanBeReadAgain) {
  const auto table = Open(path_);
  const std::string long_choice(1000, 'x');
  std::vector<TunedChoice> many;
  for (int i = 0; i < 70'000; ++i) {
    many.push_back(Choice("a", absl::StrCat("k", i), long_choice));
  }
  EXPECT_EQ(table->Add(many).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(*table->ChoicesFor("a"), IsEmpty());
  many.resize(1000);
  EXPECT_TRUE(table->Add(many).ok());
  EXPECT_THAT(*Open(path_)->ChoicesFor("a"), ::testing::SizeIs(1000));
}

TEST_F(TuningTables, SayThatAChoiceCouldNotBeWritten) {
  const auto table = Open("/nowhere/at/all.tsv");
  EXPECT_EQ(table->Add({Choice("a", "k1", "x")}).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(*table->ChoicesFor("a"), ElementsAre(Pair("k1", "x")));
}

}  // namespace
}  // namespace quern
