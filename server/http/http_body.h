// SPDX-License-Identifier: Apache-2.0
//
// The body of a request as Boost.Beast's parser fills it: a string that grows
// with what has come. The library's own takes all that the peer announces at
// once, before there is a byte of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional.hpp>

namespace quern::server {

struct HttpBody {
  using value_type = std::string;

  // What the library calls a BodyReader; its names are not ours.
  class reader {
   public:
    template <bool kIsRequest, class Fields>
    explicit reader(boost::beast::http::header<kIsRequest, Fields>&,
                    value_type& body)
        : body_(body) {}

    void init(const boost::optional<uint64_t>& length,
              boost::beast::error_code& error) {
      announced_ = length.value_or(0);
      error = {};
    }

    template <class Buffers>
    size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      const size_t size = body_.size();
      const size_t extra = boost::beast::buffer_bytes(buffers);
      if (extra > body_.max_size() - size) {
        error = boost::beast::http::error::buffer_overflow;
        return 0;
      }
      MakeRoom(size + extra);
      for (const auto part : boost::beast::buffers_range_ref(buffers)) {
        body_.append(static_cast<const char*>(part.data()), part.size());
      }
      error = {};
      return extra;
    }

    void finish(boost::beast::error_code& error) { error = {}; }

   private:
    // For `size` bytes: twice of it, or all that is announced once a part of it
    // has come, so that little is copied again.
    void MakeRoom(size_t size) {
      if (size <= body_.capacity()) return;
      const auto announced =
          static_cast<size_t>(std::min<uint64_t>(announced_, body_.max_size()));
      const bool is_near = announced >= size && announced / 16 <= size;
      body_.reserve(is_near ? announced : 2 * size);
    }

    value_type& body_;
    uint64_t announced_ = 0;
  };
};

}  // namespace quern::server
