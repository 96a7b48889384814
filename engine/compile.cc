// SPDX-License-Identifier: Apache-2.0
#include "engine/compile.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/graph/simplify.h"
#include "engine/ir/builder.h"
#include "engine/ir/clone.h"
#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"
#include "engine/ir/text.h"
#include "engine/ir/verify.h"
#include "engine/kernel/bind.h"
#include "engine/kernel/decompose.h"
#include "engine/kernel/estimate.h"
#include "engine/kernel/linearize.h"
#include "engine/kernel/tile_cpu.h"
#include "engine/schedule/budget.h"
#include "engine/schedule/fuse.h"
#include "engine/schedule/rangeify.h"

namespace quern {
namespace {

using ir::Id;
using runtime::SizeExpr;

constexpr int kMaxShrink = 6;

// Does what every pass needs around it: the deadline, the time, the name in
// errors.
class PassRunner {
 public:
  explicit PassRunner(int64_t timeout_ms) : start_(Clock::now()) {
    if (timeout_ms > 0) {
      deadline_ = start_ + std::chrono::milliseconds(timeout_ms);
    }
  }

  template <typename Pass>
  auto Run(const char* name, Pass pass) -> decltype(pass()) {
    if (deadline_.has_value() && Clock::now() > *deadline_) {
      return absl::DeadlineExceededError(
          absl::StrCat("the compile ran out of time before ", name));
    }
    const Clock::time_point start = Clock::now();
    auto result = pass();
    const std::chrono::duration<double, std::milli> took = Clock::now() - start;
    auto it = std::find_if(times_.begin(), times_.end(),
                           [&](const auto& t) { return t.first == name; });
    if (it == times_.end()) it = times_.insert(it, {name, 0});
    it->second += took.count();
    return result;
  }

  std::vector<std::pair<std::string, double>> times() const { return times_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
  std::optional<Clock::time_point> deadline_;
  std::vector<std::pair<std::string, double>> times_;
};

class Compiler {
 public:
  Compiler(const graph::Graph& graph, const base::CompileOptions& options,
           absl::Span<const CompileDevice> devices)
      : graph_(graph),
        options_(options),
        devices_(devices),
        passes_(options.timeout_ms) {}

  absl::StatusOr<CompiledGraph> Run() {
    QUERN_RETURN_IF_ERROR(
        passes_.Run("validate", [&] { return graph::Validate(graph_); }));
    QUERN_RETURN_IF_ERROR(passes_.Run("import", [&] { return Import(); }));
    QUERN_RETURN_IF_ERROR(VerifyTensors("import"));

    QUERN_ASSIGN_OR_RETURN(values_, passes_.Run("simplify", [&] {
      return graph::Simplify(arena_, values_);
    }));
    QUERN_RETURN_IF_ERROR(VerifyTensors("simplify"));
    if (options_.keep_stages) out_.graph_text = ir::ToText(arena_, values_);

    // Until every kernel is within the budget of its device; one that is not
    // becomes two.
    schedule::FuseOptions fuse;
    while (true) {
      QUERN_RETURN_IF_ERROR(CutIntoKernels(fuse));
      // From here on there are no tensors: kernels, buffers and steps.
      PlaceBuffers();
      excesses_ = TooManyBuffers();
      if (excesses_.empty()) {
        const absl::Status compiled = CompileSteps();
        if (compiled.ok()) break;
        if (excesses_.empty()) return compiled;
      }
      QUERN_RETURN_IF_ERROR(RaiseValues(fuse.raised));
    }
    passes_
        .Run("memory_plan",
             [&] {
               runtime::PlanMemory(out_.executable, estimate_);
               return absl::OkStatus();
             })
        .IgnoreError();
    QUERN_RETURN_IF_ERROR(DescribePorts());
    out_.pass_ms = passes_.times();
    return std::move(out_);
  }

 private:
  // A kernel that is more than its device takes.
  struct Excess {
    int kernel = 0;
    schedule::Excess what = schedule::Excess::kOperations;
    std::string text;
  };

  absl::Status CutIntoKernels(const schedule::FuseOptions& fuse) {
    QUERN_ASSIGN_OR_RETURN(placement_, passes_.Run("fuse", [&] {
      return schedule::Fuse(arena_, values_, fuse);
    }));
    QUERN_ASSIGN_OR_RETURN(schedule_, passes_.Run("rangeify", [&] {
      return schedule::Rangeify(arena_, values_, vars_, placement_,
                                {.device = options_.device});
    }));
    out_.notes = raise_notes_;
    for (const std::string& note : placement_.notes) {
      out_.notes.push_back({"split", "", note});
    }
    return absl::OkStatus();
  }

  // Kernels whose launches would need more buffers than their devices take.
  std::vector<Excess> TooManyBuffers() {
    std::vector<Excess> excesses;
    std::vector<bool> seen(schedule_.kernels.size(), false);
    for (const schedule::Step& step : schedule_.steps) {
      const auto* launch = std::get_if<schedule::Launch>(&step);
      if (launch == nullptr || seen[launch->kernel]) continue;
      const absl::StatusOr<int> device = DeviceNumber(launch->device);
      if (!device.ok()) continue;  // Its launch will say so.
      const int most = devices_[*device].target.max_arguments;
      const auto has = static_cast<int64_t>(launch->buffers.size());
      if (has <= most) continue;
      seen[launch->kernel] = true;
      excesses.push_back(TooManyBuffers(launch->kernel, *device, has));
    }
    return excesses;
  }

  Excess TooManyBuffers(int kernel, int device, int64_t has) const {
    return {
        kernel, schedule::Excess::kBuffers,
        absl::StrCat("uses ", has, " buffers, ", devices_[device].name,
                     " takes at most ", devices_[device].target.max_arguments)};
  }

  // Gives a value of each kernel in excesses_ a buffer.
  absl::Status RaiseValues(std::vector<Id>& raised) {
    for (const Excess& excess : excesses_) {
      const schedule::Kernel& kernel = schedule_.kernels[excess.kernel];
      const size_t before = raised.size();
      for (Id root : kernel.values) {
        const Id value =
            schedule::ValueToRaise(arena_, placement_, root, excess.what);
        // Launches of one kernel may share it.
        if (value != ir::kNoNode &&
            std::find(raised.begin(), raised.end(), value) == raised.end()) {
          raised.push_back(value);
        }
      }
      if (raised.size() == before) {
        return absl::ResourceExhaustedError(
            absl::StrCat("kernel ", kernel.name, " ", excess.text,
                         ", and it cannot be split"));
      }
      raise_notes_.push_back(
          {"budget", kernel.name,
           absl::StrCat("it ", excess.text, ": it was split at ",
                        ir::Name(arena_[raised.back()].op))});
    }
    return absl::OkStatus();
  }

  // The graph in this compile's arena, with the given sizes filled in.
  absl::Status Import() {
    absl::flat_hash_map<Id, int64_t> sizes;
    std::vector<Id> roots;
    for (const graph::Port& port : graph_.outputs) roots.push_back(port.node);
    const size_t num_outputs = roots.size();
    std::vector<Id> vars;
    for (const graph::Port& port : graph_.inputs) {
      for (Id dim : port.dims) {
        roots.push_back(dim);
        if ((*graph_.arena)[dim].op == ir::Op::kVar &&
            std::find(vars.begin(), vars.end(), dim) == vars.end()) {
          vars.push_back(dim);
        }
      }
    }
    const size_t num_dims = roots.size() - num_outputs;
    for (const graph::SizeLimit& limit : graph_.limits) {
      roots.push_back(limit.size);
    }
    for (const auto& [name, value] : options_.sizes) {
      QUERN_RETURN_IF_ERROR(FixSize(vars, name, value, sizes));
    }
    std::vector<Id> copies = ir::Clone(arena_, *graph_.arena, roots, sizes);
    values_.assign(copies.begin(), copies.begin() + num_outputs);
    input_dims_.assign(copies.begin() + num_outputs,
                       copies.begin() + num_outputs + num_dims);
    for (Id dim : input_dims_) {
      if (arena_[dim].op == ir::Op::kVar &&
          std::find(vars_.begin(), vars_.end(), dim) == vars_.end()) {
        vars_.push_back(dim);
      }
    }
    for (Id var : vars_) {
      const ir::Node& node = arena_[var];
      out_.vars.push_back({node.attr->text, node.least, node.greatest});
    }
    for (size_t i = 0; i < graph_.limits.size(); ++i) {
      const graph::SizeLimit& limit = graph_.limits[i];
      LimitPlan plan;
      QUERN_ASSIGN_OR_RETURN(
          plan.size,
          SizeExpr::Of(arena_, copies[num_outputs + num_dims + i], vars_));
      plan.at_most = limit.at_most;
      plan.reason = limit.reason;
      out_.limits.push_back(std::move(plan));
    }
    return absl::OkStatus();
  }

  absl::Status FixSize(const std::vector<Id>& vars, const std::string& name,
                       int64_t value, absl::flat_hash_map<Id, int64_t>& sizes) {
    std::string known;
    for (Id var : vars) {
      const ir::Node& node = (*graph_.arena)[var];
      absl::StrAppend(&known, known.empty() ? "" : ", ",
                      base::Quoted(node.attr->text));
      if (node.attr->text != name) continue;
      if (value < node.least || value > node.greatest) {
        return absl::InvalidArgumentError(
            absl::StrCat("size ", base::Quoted(name), " is ", value,
                         ", expected ", node.least, " to ", node.greatest));
      }
      sizes[var] = value;
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("no free size is called ", base::Quoted(name),
                     "; there is ", known.empty() ? "none" : known));
  }

  absl::Status Broken(const char* pass, const absl::Status& status) {
    if (absl::IsDeadlineExceeded(status)) return status;
    return absl::InternalError(
        absl::StrCat("pass ", pass, " broke its rules: ", status.message()));
  }

  absl::Status VerifyTensors(const char* pass) {
    if (!options_.verify) return absl::OkStatus();
    const absl::Status status = passes_.Run(
        "verify", [&] { return ir::VerifyTensorLevel(arena_, values_); });
    return status.ok() ? status : Broken(pass, status);
  }

  absl::Status VerifyKernel(const char* pass, Id body) {
    if (!options_.verify) return absl::OkStatus();
    const absl::Status status = passes_.Run(
        "verify", [&] { return ir::VerifyKernelLevel(arena_, body); });
    return status.ok() ? status : Broken(pass, status);
  }

  absl::StatusOr<int> DeviceNumber(const std::string& name) {
    std::string known;
    for (size_t i = 0; i < devices_.size(); ++i) {
      if (devices_[i].name == name) return static_cast<int>(i);
      absl::StrAppend(&known, i == 0 ? "" : ", ", devices_[i].name);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("no device is called ", base::Quoted(name),
                     "; this server has ", known));
  }

  // The buffer `decl` as used on `device`. Weights and inputs have one for
  // each device that uses them.
  absl::StatusOr<int> BufferOn(int decl, int device) {
    const schedule::BufferDecl& d = schedule_.buffers[decl];
    const bool shared = !d.device.has_value();
    const auto key = std::make_pair(decl, shared ? device : -1);
    const auto known = buffer_number_.find(key);
    if (known != buffer_number_.end()) return known->second;
    runtime::ExecBuffer buffer;
    using From = schedule::BufferDecl::Kind;
    using To = runtime::ExecBuffer::Kind;
    buffer.kind = d.kind == From::kInput    ? To::kInput
                  : d.kind == From::kOutput ? To::kOutput
                  : d.kind == From::kWeight ? To::kWeight
                  : d.at_load               ? To::kResident
                                            : To::kTemporary;
    buffer.slot = d.slot;
    buffer.dtype = d.dtype;
    buffer.device = device;
    if (!shared) {
      QUERN_ASSIGN_OR_RETURN(buffer.device, DeviceNumber(*d.device));
    }
    const Id bytes =
        ir::Mul(arena_, d.elements, arena_.Int(ir::ByteSize(d.dtype)));
    QUERN_ASSIGN_OR_RETURN(buffer.bytes, SizeExpr::Of(arena_, bytes, vars_));
    estimate_.push_back(schedule::EstimateSize(arena_, bytes));
    out_.executable.buffers.push_back(std::move(buffer));
    const int number = static_cast<int>(out_.executable.buffers.size()) - 1;
    buffer_number_[key] = number;
    return number;
  }

  // Begins the executable.
  void PlaceBuffers() {
    out_.executable = {};
    out_.kernels.clear();
    buffer_number_.clear();
    constant_number_.clear();
    kernel_number_.clear();
    packs_.clear();
    packed_.clear();
    pack_kernel_.clear();
    out_.schedule_text.clear();
    estimate_.clear();
    out_.executable.num_vars = static_cast<int>(vars_.size());
    for (const CompileDevice& device : devices_) {
      out_.executable.device_names.push_back(device.name);
    }
    out_.executable.devices.resize(devices_.size());
  }

  // The buffer of an array of constants on `device`; equal ones are one.
  int ConstantOn(const kernel::Table& table, int device) {
    const int64_t size = ir::ByteSize(table.dtype);
    std::string bytes(table.bits.size() * size, '\0');
    for (size_t i = 0; i < table.bits.size(); ++i) {
      ir::WriteElement(table.dtype, table.bits[i], bytes.data() + i * size);
    }
    const auto [it, is_new] = constant_number_.try_emplace(
        {device, bytes}, static_cast<int>(out_.executable.buffers.size()));
    if (!is_new) return it->second;
    runtime::ExecBuffer buffer;
    buffer.kind = runtime::ExecBuffer::Kind::kConstant;
    buffer.slot = static_cast<int>(out_.executable.constants.size());
    buffer.dtype = table.dtype;
    buffer.device = device;
    buffer.bytes = SizeExpr(static_cast<int64_t>(bytes.size()));
    estimate_.push_back(static_cast<double>(bytes.size()));
    out_.executable.buffers.push_back(std::move(buffer));
    out_.executable.constants.push_back(std::move(bytes));
    return it->second;
  }

  // Each step becomes a command of a segment; kernels are compiled when they
  // are met, once for each device.
  absl::Status CompileSteps() {
    for (const schedule::Step& step : schedule_.steps) {
      QUERN_RETURN_IF_ERROR(AppendStep(step));
    }
    return absl::OkStatus();
  }

  absl::Status AppendStep(const schedule::Step& step) {
    runtime::Command command;
    int device = 0;
    bool at_load = false;
    if (const auto* launch = std::get_if<schedule::Launch>(&step)) {
      QUERN_ASSIGN_OR_RETURN(device, DeviceNumber(launch->device));
      at_load = launch->at_load;
      QUERN_ASSIGN_OR_RETURN(command, LaunchOf(*launch, device));
    } else {
      const auto& copy = std::get<schedule::CopyStep>(step);
      at_load = copy.at_load;
      QUERN_ASSIGN_OR_RETURN(device,
                             DeviceNumber(*schedule_.buffers[copy.to].device));
      runtime::CopyCommand out;
      QUERN_ASSIGN_OR_RETURN(out.from, BufferOn(copy.from, device));
      QUERN_ASSIGN_OR_RETURN(out.to, BufferOn(copy.to, device));
      command = out;
    }
    if (options_.keep_stages) {
      absl::StrAppend(&out_.schedule_text, StepText(step));
    }
    std::vector<runtime::Segment>& segments =
        at_load ? out_.executable.load_segments : out_.executable.segments;
    if (segments.empty() || segments.back().device != device) {
      segments.push_back({device, {}});
    }
    segments.back().commands.push_back(std::move(command));
    return absl::OkStatus();
  }

  absl::StatusOr<runtime::Command> LaunchOf(const schedule::Launch& launch,
                                            int device) {
    // What is there when the model is loaded is packed then.
    std::vector<bool> at_load;
    for (size_t i = 0; i < launch.buffers.size() && !launch.at_load; ++i) {
      at_load.push_back(schedule_.buffers[launch.buffers[i]].at_load);
    }
    const auto key =
        std::make_tuple(launch.kernel, device, launch.at_load, at_load);
    auto it = kernel_number_.find(key);
    if (it == kernel_number_.end()) {
      const schedule::Kernel& kernel = schedule_.kernels[launch.kernel];
      absl::StatusOr<KernelPlan> plan =
          CompileKernel(launch.kernel, device, at_load);
      if (!plan.ok()) {
        return absl::Status(plan.status().code(),
                            absl::StrCat("kernel ", kernel.name, ": ",
                                         plan.status().message()));
      }
      plan->at_load = launch.at_load;
      out_.kernels.push_back(*std::move(plan));
      packs_.push_back(std::move(found_packs_));
      it =
          kernel_number_.emplace(key, static_cast<int>(out_.kernels.size()) - 1)
              .first;
    }
    KernelPlan& plan = out_.kernels[it->second];
    ++plan.launches;
    runtime::LaunchCommand command;
    command.kernel = it->second;
    command.grid = plan.grid;
    command.scratch_bytes = plan.scratch_bytes;
    command.work = plan.work;
    const std::vector<int> constants = plan.constants;
    std::vector<int> buffers = launch.buffers;
    // Packing compiles kernels, which moves the plans.
    const std::vector<kernel::Pack> packs = packs_[it->second];
    for (const kernel::Pack& pack : packs) {
      int& decl = buffers[pack.param];
      QUERN_ASSIGN_OR_RETURN(decl, PackedCopy(decl, pack, launch.device));
    }
    for (int decl : buffers) {
      QUERN_ASSIGN_OR_RETURN(const int buffer, BufferOn(decl, device));
      command.buffers.push_back(buffer);
    }
    command.buffers.insert(command.buffers.end(), constants.begin(),
                           constants.end());
    return command;
  }

  // The buffer that holds `decl` packed; the launch that fills it runs when the
  // model is loaded if `decl` is there by then, else before its first use.
  absl::StatusOr<int> PackedCopy(int decl, const kernel::Pack& pack,
                                 const std::string& device) {
    const auto [it, is_new] = packed_.try_emplace(
        {decl, pack.body, device}, static_cast<int>(schedule_.buffers.size()));
    if (!is_new) return it->second;
    const int copy = it->second;
    schedule::BufferDecl buffer;
    buffer.dtype = pack.dtype;
    buffer.elements = arena_.Int(pack.elements);
    buffer.device = device;
    buffer.at_load = schedule_.buffers[decl].at_load;
    schedule_.buffers.push_back(std::move(buffer));
    const auto [kernel, first] = pack_kernel_.try_emplace(
        pack.body, static_cast<int>(schedule_.kernels.size()));
    if (first) {
      schedule::Kernel packing;
      packing.name = absl::StrCat(
          "pack_", pack.elements, "_",
          absl::Hex(arena_[pack.body].hash & 0xffffff, absl::kZeroPad6));
      packing.summary = "a factor in the order of its use";
      packing.params = {{pack.dtype, true}, {pack.dtype, false}};
      packing.bodies = {pack.body};
      schedule_.kernels.push_back(std::move(packing));
    }
    schedule::Launch launch;
    launch.kernel = kernel->second;
    launch.buffers = {copy, decl};
    launch.device = device;
    launch.at_load = schedule_.buffers[decl].at_load;
    QUERN_RETURN_IF_ERROR(AppendStep(launch));
    return copy;
  }

  // From here on, one target.
  absl::StatusOr<KernelPlan> CompileKernel(int number, int device,
                                           const std::vector<bool>& at_load) {
    const schedule::Kernel& kernel = schedule_.kernels[number];
    const base::Target& target = devices_[device].target;
    KernelPlan plan;
    plan.name = kernel.name;
    plan.summary = kernel.summary;
    plan.device = device;
    for (Id body : kernel.bodies) {
      QUERN_RETURN_IF_ERROR(VerifyKernel("rangeify", body));
    }
    Id operations = arena_.Int(0);
    for (Id body : kernel.bodies) {
      operations = ir::Add(arena_, operations,
                           passes_
                               .Run("estimate",
                                    [&] {
                                      return absl::StatusOr<Id>(
                                          kernel::Operations(arena_, body));
                                    })
                               .value_or(arena_.Int(0)));
    }
    QUERN_ASSIGN_OR_RETURN(plan.work, SizeExpr::Of(arena_, operations, vars_));

    plan.identity = IdentityOf(kernel, at_load);

    for (int shrink = 0;; ++shrink) {
      QUERN_ASSIGN_OR_RETURN(
          kernel::Linearized linear,
          LowerForTarget(kernel, devices_[device], shrink, at_load, plan));
      // Arrays of constants are known by now.
      const auto buffers = static_cast<int64_t>(linear.program.params.size());
      if (buffers > target.max_arguments) {
        excesses_.push_back(TooManyBuffers(number, device, buffers));
        return absl::ResourceExhaustedError(excesses_.back().text);
      }
      const kernel::ProgramCost cost = kernel::Measure(linear.program);
      const bool fits =
          target.interpreted || (cost.operations <= target.max_operations &&
                                 cost.live_vectors <= target.max_live_vectors);
      if (!fits && shrink < kMaxShrink) continue;
      if (cost.operations > target.max_operations && !target.interpreted) {
        excesses_.push_back(
            {number, schedule::Excess::kOperations,
             absl::StrCat("needs ", cost.operations,
                          " instructions with its smallest tile, the limit is ",
                          target.max_operations)});
        return absl::ResourceExhaustedError(excesses_.back().text);
      }
      if (shrink > 0) {
        out_.notes.push_back(
            {"budget", kernel.name,
             absl::StrCat("the tile was halved ", shrink, " times for the ",
                          "budget of ", target.max_operations,
                          " instructions and ", target.max_live_vectors,
                          " vectors; it has ", cost.operations, " and ",
                          cost.live_vectors)});
      }
      if (!plan.choices.empty() && plan.choice != plan.choices.front()) {
        out_.notes.push_back(
            {"tuned", kernel.name,
             absl::StrCat("chosen by measurement: ", plan.choice,
                          "; by estimate it would be ", plan.choices.front())});
      }
      plan.operations = cost.operations;
      plan.live_vectors = cost.live_vectors;
      QUERN_ASSIGN_OR_RETURN(plan.grid,
                             SizeExpr::Of(arena_, linear.grid, vars_));
      QUERN_ASSIGN_OR_RETURN(plan.scratch_bytes,
                             SizeExpr::Of(arena_, linear.scratch_bytes, vars_));
      for (const kernel::Table& array : linear.arrays) {
        plan.constants.push_back(ConstantOn(array, device));
      }
      plan.source.name = kernel.name;
      QUERN_ASSIGN_OR_RETURN(plan.source.text, passes_.Run("render", [&] {
        return devices_[device].codegen->Render(linear.program, target);
      }));
      if (options_.keep_stages) {
        plan.linear_text = kernel::ToText(linear.program);
      }
      return plan;
    }
  }

  // The same for the same kernel in any compile, different for any other.
  std::string IdentityOf(const schedule::Kernel& kernel,
                         const std::vector<bool>& at_load) const {
    std::string identity;
    for (Id body : kernel.bodies) {
      absl::StrAppend(&identity, identity.empty() ? "" : "-",
                      absl::Hex(arena_[body].hash, absl::kZeroPad16));
    }
    // What is there at load has a copy in another order for nothing.
    identity += ":";
    for (bool there : at_load) identity += there ? '1' : '0';
    return identity;
  }

  // What was measured to be best for `kernel`; empty if that is not known.
  static std::string MeasuredChoice(const std::string& kernel,
                                    const base::Choices* choices) {
    if (choices == nullptr) return "";
    const auto it = choices->find(kernel);
    return it == choices->end() ? "" : it->second;
  }

  // Schedule, bind, decompose, linearize. What explain tells of it goes to
  // `plan`.
  absl::StatusOr<kernel::Linearized> LowerForTarget(
      const schedule::Kernel& kernel, const CompileDevice& device, int shrink,
      const std::vector<bool>& at_load, KernelPlan& plan) {
    const base::Target& target = device.target;
    const std::string wanted =
        MeasuredChoice(plan.identity, device.choices.get());
    std::vector<Id> bodies;
    found_packs_.clear();
    plan.kernel_text.clear();
    for (Id body : kernel.bodies) {
      if (options_.keep_stages) {
        absl::StrAppend(&plan.kernel_text, "# as cut from the graph\n",
                        ir::ToText(arena_, {body}));
      }
      if (!target.interpreted) {
        QUERN_ASSIGN_OR_RETURN(
            kernel::TileResult tile, passes_.Run("schedule", [&] {
              return absl::StatusOr<kernel::TileResult>(kernel::TileForCpu(
                  arena_, body, target, shrink, at_load, wanted));
            }));
        found_packs_ = tile.packs;
        plan.schedule = tile.description;
        plan.share_of_peak = tile.share_of_peak;
        plan.choices = std::move(tile.choices);
        plan.choice = std::move(tile.choice);
        if (options_.keep_stages) {
          absl::StrAppend(&plan.kernel_text, "# scheduled: ", tile.description,
                          "\n");
        }
        for (Id part : tile.bodies) {
          QUERN_RETURN_IF_ERROR(VerifyKernel("schedule", part));
          if (options_.keep_stages) {
            plan.kernel_text += ir::ToText(arena_, {part});
          }
          bodies.push_back(part);
        }
      } else {
        plan.schedule = "serial";
        bodies.push_back(body);
      }
    }
    for (Id& body : bodies) {
      QUERN_ASSIGN_OR_RETURN(body, passes_.Run("bind", [&] {
        return kernel::Bind(arena_, body, target);
      }));
      QUERN_ASSIGN_OR_RETURN(body, passes_.Run("decompose", [&] {
        return kernel::Decompose(arena_, body, target);
      }));
      QUERN_RETURN_IF_ERROR(VerifyKernel("decompose", body));
    }
    std::vector<kernel::Param> params;
    for (const schedule::KernelParam& param : kernel.params) {
      params.push_back({param.dtype, param.written});
    }
    QUERN_ASSIGN_OR_RETURN(
        kernel::Linearized linear, passes_.Run("linearize", [&] {
          return kernel::Linearize(
              arena_, kernel.name, std::move(params), bodies, vars_, target,
              options_.numerics != base::Numerics::kStrict);
        }));
    if (options_.verify) {
      const absl::Status status =
          passes_.Run("verify", [&] { return kernel::Verify(linear.program); });
      if (!status.ok()) return Broken("linearize", status);
    }
    return linear;
  }

  // "3 launch c_64_... : out t4 <- input0, w2" for explain.
  std::string StepText(const schedule::Step& step) {
    const auto name = [&](int decl) {
      const schedule::BufferDecl& d = schedule_.buffers[decl];
      using Kind = schedule::BufferDecl::Kind;
      std::string out = d.kind == Kind::kInput    ? "input"
                        : d.kind == Kind::kOutput ? "output"
                        : d.kind == Kind::kWeight ? "weight"
                                                  : "temporary";
      absl::StrAppend(
          &out, d.kind == Kind::kTemporary ? decl : d.slot, "[",
          d.layout.empty() ? ir::SizeText(arena_, d.elements) : d.layout, " ",
          ir::Name(d.dtype), "]");
      return out;
    };
    if (const auto* copy = std::get_if<schedule::CopyStep>(&step)) {
      return absl::StrCat(copy->at_load ? "load " : "run  ", "copy ",
                          name(copy->from), " -> ", name(copy->to), " on ",
                          *schedule_.buffers[copy->to].device, "\n");
    }
    const auto& launch = std::get<schedule::Launch>(step);
    const schedule::Kernel& kernel = schedule_.kernels[launch.kernel];
    std::string out = absl::StrCat(launch.at_load ? "load " : "run  ",
                                   kernel.name, " on ", launch.device, ": ");
    for (size_t i = 0; i < launch.buffers.size(); ++i) {
      absl::StrAppend(&out,
                      i == 0   ? ""
                      : i == 1 ? " <- "
                               : ", ",
                      name(launch.buffers[i]));
    }
    return absl::StrCat(out, "  # ", kernel.summary, "\n");
  }

  absl::Status DescribePorts() {
    size_t next = 0;
    for (const graph::Port& port : graph_.inputs) {
      const absl::Span<const Id> dims =
          absl::MakeConstSpan(input_dims_).subspan(next, port.dims.size());
      next += port.dims.size();
      QUERN_ASSIGN_OR_RETURN(PortPlan plan, Describe(port, dims));
      out_.inputs.push_back(std::move(plan));
    }
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      QUERN_ASSIGN_OR_RETURN(
          PortPlan plan,
          Describe(graph_.outputs[i], arena_.DimsOf(values_[i])));
      out_.outputs.push_back(std::move(plan));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PortPlan> Describe(const graph::Port& port,
                                    absl::Span<const Id> dims) {
    PortPlan plan;
    plan.name = port.name;
    plan.dtype = port.dtype;
    for (Id dim : dims) {
      QUERN_ASSIGN_OR_RETURN(SizeExpr size, SizeExpr::Of(arena_, dim, vars_));
      plan.dims.push_back(std::move(size));
      plan.dim_text.push_back(ir::SizeText(arena_, dim));
      const auto var = std::find(vars_.begin(), vars_.end(), dim);
      plan.var_of_dim.push_back(
          var == vars_.end() ? -1 : static_cast<int>(var - vars_.begin()));
    }
    return plan;
  }

  const graph::Graph& graph_;
  const base::CompileOptions& options_;
  const absl::Span<const CompileDevice> devices_;
  PassRunner passes_;
  ir::Arena arena_;
  std::vector<Id> values_;      // Of the outputs.
  std::vector<Id> input_dims_;  // Of all inputs, one after the other.
  std::vector<Id> vars_;
  schedule::Placement placement_;
  schedule::Schedule schedule_;
  std::vector<Excess> excesses_;   // Of the schedule at hand.
  std::vector<Note> raise_notes_;  // Of those before it.
  std::map<std::pair<int, int>, int> buffer_number_;
  std::map<std::pair<int, std::string>, int> constant_number_;
  std::map<std::tuple<int, int, bool, std::vector<bool>>, int> kernel_number_;
  std::vector<std::vector<kernel::Pack>> packs_;  // By kernel plan.
  std::vector<kernel::Pack> found_packs_;         // Of the kernel at hand.
  std::map<std::tuple<int, Id, std::string>, int> packed_;
  std::map<Id, int> pack_kernel_;
  std::vector<double> estimate_;  // Bytes, by buffer.
  CompiledGraph out_;
};

}  // namespace

absl::StatusOr<CompiledGraph> Compile(const graph::Graph& graph,
                                      const base::CompileOptions& options,
                                      absl::Span<const CompileDevice> devices) {
  return Compiler(graph, options, devices).Run();
}

}  // namespace quern
