// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/quoted.h"

namespace quern::server {

using base::Quoted;

}  // namespace quern::server
