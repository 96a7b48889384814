// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/wire/message_mutator.h"

#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "google/protobuf/descriptor.h"

namespace quern::fuzz {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kMaxText = 256;

class Mutator {
 public:
  Mutator(Message& root, uint64_t seed, MutateBytes mutate_bytes)
      : root_(root), random_(seed), mutate_bytes_(mutate_bytes) {}

  void Step() {
    messages_.clear();
    texts_.clear();
    Visit(root_);
    Message& message = *messages_[Below(messages_.size())];
    const FieldDescriptor* field = ChooseField(message);
    if (field == nullptr) return;
    if (field->is_repeated()) {
      ChangeList(message, field);
    } else {
      ChangeField(message, field);
    }
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }
  bool OneIn(size_t n) { return Below(n) == 0; }

  // Notes all messages, and the texts in them.
  void Visit(Message& message) {
    messages_.push_back(&message);
    const Reflection& r = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    r.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      const int count = field->is_repeated() ? r.FieldSize(message, field) : 1;
      const auto type = field->cpp_type();
      for (int i = 0; i < count; ++i) {
        if (type == FieldDescriptor::CPPTYPE_MESSAGE) {
          Visit(field->is_repeated()
                    ? *r.MutableRepeatedMessage(&message, field, i)
                    : *r.MutableMessage(&message, field));
        } else if (type == FieldDescriptor::CPPTYPE_STRING) {
          std::string text = field->is_repeated()
                                 ? r.GetRepeatedString(message, field, i)
                                 : r.GetString(message, field);
          if (text.size() <= kMaxText) texts_.push_back(std::move(text));
        }
      }
    }
  }

  // Mostly one that is set, since most of the others mean nothing here.
  const FieldDescriptor* ChooseField(const Message& message) {
    std::vector<const FieldDescriptor*> set;
    message.GetReflection()->ListFields(message, &set);
    if (!set.empty() && !OneIn(4)) return set[Below(set.size())];
    const int count = message.GetDescriptor()->field_count();
    if (count == 0) return nullptr;
    return message.GetDescriptor()->field(
        static_cast<int>(Below(static_cast<size_t>(count))));
  }

  void ChangeList(Message& message, const FieldDescriptor* field) {
    const Reflection& r = *message.GetReflection();
    const int count = r.FieldSize(message, field);
    const int any =
        count == 0 ? 0 : static_cast<int>(Below(static_cast<size_t>(count)));
    const int other =
        count == 0 ? 0 : static_cast<int>(Below(static_cast<size_t>(count)));
    switch (count == 0 ? 0 : Below(6)) {
      case 0:
        AddElement(message, field);
        break;
      case 1:
        r.SwapElements(&message, field, any, count - 1);
        r.RemoveLast(&message, field);
        break;
      case 2:
        r.SwapElements(&message, field, any, other);
        break;
      default:
        ChangeElement(message, field, any);
    }
  }

  void ChangeField(Message& message, const FieldDescriptor* field) {
    const Reflection& r = *message.GetReflection();
    if (r.HasField(message, field) && OneIn(5)) {
      r.ClearField(&message, field);
      return;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return r.SetInt32(&message, field, Integer(r.GetInt32(message, field)));
      case FieldDescriptor::CPPTYPE_INT64:
        return r.SetInt64(&message, field, Integer(r.GetInt64(message, field)));
      case FieldDescriptor::CPPTYPE_UINT32:
        return r.SetUInt32(&message, field,
                           Integer(r.GetUInt32(message, field)));
      case FieldDescriptor::CPPTYPE_UINT64:
        return r.SetUInt64(&message, field,
                           Integer(r.GetUInt64(message, field)));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return r.SetDouble(&message, field, Real<double>());
      case FieldDescriptor::CPPTYPE_FLOAT:
        return r.SetFloat(&message, field, Real<float>());
      case FieldDescriptor::CPPTYPE_BOOL:
        return r.SetBool(&message, field, !r.GetBool(message, field));
      case FieldDescriptor::CPPTYPE_ENUM:
        return r.SetEnumValue(&message, field, Enumerator(field));
      case FieldDescriptor::CPPTYPE_STRING:
        return r.SetString(&message, field, Text(r.GetString(message, field)));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Replace(message, field, [&]() -> Message& {
          return *r.MutableMessage(&message, field);
        });
    }
  }

  void ChangeElement(Message& message, const FieldDescriptor* field, int i) {
    const Reflection& r = *message.GetReflection();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return r.SetRepeatedInt32(
            &message, field, i, Integer(r.GetRepeatedInt32(message, field, i)));
      case FieldDescriptor::CPPTYPE_INT64:
        return r.SetRepeatedInt64(
            &message, field, i, Integer(r.GetRepeatedInt64(message, field, i)));
      case FieldDescriptor::CPPTYPE_UINT32:
        return r.SetRepeatedUInt32(
            &message, field, i,
            Integer(r.GetRepeatedUInt32(message, field, i)));
      case FieldDescriptor::CPPTYPE_UINT64:
        return r.SetRepeatedUInt64(
            &message, field, i,
            Integer(r.GetRepeatedUInt64(message, field, i)));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return r.SetRepeatedDouble(&message, field, i, Real<double>());
      case FieldDescriptor::CPPTYPE_FLOAT:
        return r.SetRepeatedFloat(&message, field, i, Real<float>());
      case FieldDescriptor::CPPTYPE_BOOL:
        return r.SetRepeatedBool(&message, field, i,
                                 !r.GetRepeatedBool(message, field, i));
      case FieldDescriptor::CPPTYPE_ENUM:
        return r.SetRepeatedEnumValue(&message, field, i, Enumerator(field));
      case FieldDescriptor::CPPTYPE_STRING:
        return r.SetRepeatedString(
            &message, field, i, Text(r.GetRepeatedString(message, field, i)));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Replace(message, field, [&]() -> Message& {
          return *r.MutableRepeatedMessage(&message, field, i);
        });
    }
  }

  void AddElement(Message& message, const FieldDescriptor* field) {
    const Reflection& r = *message.GetReflection();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return r.AddInt32(&message, field, Integer<int32_t>(0));
      case FieldDescriptor::CPPTYPE_INT64:
        return r.AddInt64(&message, field, Integer<int64_t>(0));
      case FieldDescriptor::CPPTYPE_UINT32:
        return r.AddUInt32(&message, field, Integer<uint32_t>(0));
      case FieldDescriptor::CPPTYPE_UINT64:
        return r.AddUInt64(&message, field, Integer<uint64_t>(0));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return r.AddDouble(&message, field, Real<double>());
      case FieldDescriptor::CPPTYPE_FLOAT:
        return r.AddFloat(&message, field, Real<float>());
      case FieldDescriptor::CPPTYPE_BOOL:
        return r.AddBool(&message, field, OneIn(2));
      case FieldDescriptor::CPPTYPE_ENUM:
        return r.AddEnumValue(&message, field, Enumerator(field));
      case FieldDescriptor::CPPTYPE_STRING:
        return r.AddString(&message, field, Text(""));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Replace(message, field, [&]() -> Message& {
          return *r.AddMessage(&message, field);
        });
    }
  }

  // Makes what `place` gives, of this field of `message`, a copy of some other
  // message of its type, or empty. The copy is taken first, because a place in
  // a oneof frees what was there.
  void Replace(const Message& message, const FieldDescriptor* field,
               absl::FunctionRef<Message&()> place) {
    std::vector<const Message*> choices;
    for (const Message* other : messages_) {
      if (other->GetDescriptor() == field->message_type()) {
        choices.push_back(other);
      }
    }
    const Message& chosen =
        choices.empty()
            ? *message.GetReflection()->GetMessageFactory()->GetPrototype(
                  field->message_type())
            : *choices[Below(choices.size())];
    const std::unique_ptr<Message> copy(chosen.New());
    copy->CopyFrom(chosen);
    place().CopyFrom(*copy);
  }

  template <typename T>
  T Integer(T old) {
    constexpr T kLeast = std::numeric_limits<T>::min();
    constexpr T kGreatest = std::numeric_limits<T>::max();
    switch (Below(8)) {
      case 0:
        return old == kGreatest ? kLeast : static_cast<T>(old + 1);
      case 1:
        return old == kLeast ? kGreatest : static_cast<T>(old - 1);
      case 2:
        return kLeast;
      case 3:
        return kGreatest;
      case 4:
        return static_cast<T>(uint64_t{1} << Below(64));
      case 5:
        return static_cast<T>(-static_cast<int64_t>(Below(20)));
      default:
        return static_cast<T>(Below(20));
    }
  }

  template <typename T>
  T Real() {
    using Limits = std::numeric_limits<T>;
    const T choices[] = {T{0},
                         -T{0},
                         T{1},
                         T{-1},
                         T{0.5},
                         T{3},
                         Limits::max(),
                         Limits::min(),
                         Limits::lowest(),
                         T{-1e10},
                         Limits::infinity(),
                         -Limits::infinity(),
                         Limits::quiet_NaN(),
                         Limits::denorm_min()};
    return choices[Below(std::size(choices))];
  }

  int Enumerator(const FieldDescriptor* field) {
    const auto& type = *field->enum_type();
    // A value that the type lacks is legal only where enumerations are open.
    const bool open = field->file()->syntax() ==
                      google::protobuf::FileDescriptor::SYNTAX_PROTO3;
    if (open && OneIn(10)) return Integer<int32_t>(0);
    return type
        .value(static_cast<int>(Below(static_cast<size_t>(type.value_count()))))
        ->number();
  }

  std::string Text(std::string old) {
    if (!texts_.empty() && !OneIn(3)) return texts_[Below(texts_.size())];
    const size_t size = old.size();
    old.resize(size + 16);
    old.resize(mutate_bytes_(reinterpret_cast<uint8_t*>(old.data()), size,
                             old.size()));
    return old;
  }

  Message& root_;
  std::minstd_rand random_;
  const MutateBytes mutate_bytes_;
  std::vector<Message*> messages_;
  std::vector<std::string> texts_;
};

}  // namespace

void Mutate(Message& message, uint64_t seed, MutateBytes mutate_bytes) {
  Mutator mutator(message, seed, mutate_bytes);
  for (uint64_t i = 0; i <= seed % 4; ++i) mutator.Step();
}

std::string MutatedMessage(Message& message, absl::string_view bytes,
                           size_t max_size, uint64_t seed,
                           MutateBytes mutate_bytes) {
  if (seed % 10 != 0 && message.ParsePartialFromArray(
                            bytes.data(), static_cast<int>(bytes.size()))) {
    Mutate(message, seed / 10, mutate_bytes);
    std::string mutated = message.SerializePartialAsString();
    if (!mutated.empty() && mutated.size() <= max_size) return mutated;
  }
  return MutatedBytes(bytes, max_size, seed, mutate_bytes);
}

}  // namespace quern::fuzz
