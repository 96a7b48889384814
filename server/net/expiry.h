// SPDX-License-Identifier: Apache-2.0
//
// An Expiry calls a function when a deadline has passed that may be moved as
// often as one likes: its timer is set anew only for an earlier deadline, and
// looks again when it expires.
//
// For one thread, the one of the loop that it is given.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include <boost/asio/steady_timer.hpp>

namespace quern::server {

class Expiry {
 public:
  using Clock = std::chrono::steady_clock;

  template <typename Executor>
  explicit Expiry(const Executor& executor) : timer_(executor) {}

  // Calls `expired` from now on, as long as `owner` lives.
  void Start(std::weak_ptr<void> owner, std::function<void()> expired) {
    owner_ = std::move(owner);
    expired_ = std::move(expired);
  }

  void At(Clock::time_point deadline) {
    deadline_ = deadline;
    if (deadline < timer_at_) SetTimer();
  }
  void Never() { deadline_ = Clock::time_point::max(); }

  // For good.
  void Cancel() {
    Never();
    timer_.cancel();
  }

 private:
  void SetTimer() {
    timer_at_ = deadline_;
    timer_.expires_at(deadline_);
    timer_.async_wait([this, owner = owner_](boost::system::error_code error) {
      if (error) return;
      if (const auto lives = owner.lock()) OnTimer();
    });
  }

  void OnTimer() {
    timer_at_ = Clock::time_point::max();
    if (deadline_ == Clock::time_point::max()) return;
    if (Clock::now() < deadline_) {
      SetTimer();
    } else {
      Never();
      expired_();
    }
  }

  boost::asio::steady_timer timer_;
  std::weak_ptr<void> owner_;
  std::function<void()> expired_;
  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point timer_at_ = Clock::time_point::max();  // Of the timer.
};

}  // namespace quern::server
