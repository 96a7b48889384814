// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/constant_pool.h"

#include <cstring>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/ref/ref_backend.h"

namespace quern::runtime {
namespace {

std::shared_ptr<Device> OpenDevice() {
  return *ref::MakeRefBackend()->Open(0, DeviceOptions());
}

std::string ContentOf(Buffer& buffer) {
  return {static_cast<const char*>(buffer.host()), buffer.size()};
}

TEST(ConstantPool, EqualContentsOnOneDeviceAreOneBuffer) {
  ConstantPool pool;
  const std::shared_ptr<Device> device = OpenDevice();
  const auto a = pool.Get(device, "abcd");
  const auto b = pool.Get(device, "abcd");
  const auto c = pool.Get(device, "abce");
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ(*a, *b);
  EXPECT_NE(*a, *c);
  EXPECT_EQ(ContentOf(**a), "abcd");
  EXPECT_EQ(ContentOf(**c), "abce");
  EXPECT_EQ(pool.size(), 2u);
}

TEST(ConstantPool, EachDeviceHasItsOwn) {
  ConstantPool pool;
  const auto a = pool.Get(OpenDevice(), "abcd");
  const auto b = pool.Get(OpenDevice(), "abcd");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(*a, *b);
}

TEST(ConstantPool, WhatNobodyUsesGoes) {
  ConstantPool pool;
  const std::shared_ptr<Device> device = OpenDevice();
  auto a = pool.Get(device, "abcd");
  ASSERT_TRUE(a.ok());
  std::weak_ptr<Buffer> buffer = *a;
  a = absl::UnknownError("");
  EXPECT_TRUE(buffer.expired());
  EXPECT_EQ(pool.size(), 0u);
  EXPECT_TRUE(pool.Get(device, "abcd").ok());
}

TEST(ConstantPool, TakesAnEmptyArray) {
  EXPECT_TRUE(ConstantPool().Get(OpenDevice(), "").ok());
}

}  // namespace
}  // namespace quern::runtime
