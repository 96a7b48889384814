// SPDX-License-Identifier: Apache-2.0
//
// The pass list is short on purpose. The engine has unrolled, vectorized and
// tiled; what is left is to turn allocas into phis, share addresses and hoist
// them. LLVM's vectorizers and unroller would undo the tiles and cost most of
// the compile time.
//
// Linking uses JITLink without ORC's session. A kernel is one object with one
// symbol and no dependencies, so a session would only add names that live as
// long as the process and a lock around every load.
#include "backends/cpu/jit.h"

#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/ExecutionEngine/JITLink/JITLink.h"
#include "llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/PassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/MCAsmInfo.h"
#include "llvm/MC/MCContext.h"
#include "llvm/MC/MCDisassembler/MCDisassembler.h"
#include "llvm/MC/MCInst.h"
#include "llvm/MC/MCInstPrinter.h"
#include "llvm/MC/MCInstrInfo.h"
#include "llvm/MC/MCRegisterInfo.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/LICM.h"
#include "llvm/Transforms/Scalar/LoopPassManager.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"

#include "backends/cpu/llvm_status.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace quern::cpu {
namespace {

namespace jitlink = llvm::jitlink;

llvm::StringRef Ref(absl::string_view text) {
  return llvm::StringRef(text.data(), text.size());
}

// What LLVM knows of an architecture.
struct Platform {
  const llvm::Target* target = nullptr;
  const char* cpu = nullptr;  // The plainest one.
  unsigned syntax = 0;        // Of its assembly.
};

// Found on first use.
const Platform& PlatformOf(const Isa& isa) {
  static const auto* const kPlatforms = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86Disassembler();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64Disassembler();
    constexpr unsigned kIntel = 1;
    auto* platforms = new std::map<std::string, Platform>{
        {kX86, {nullptr, "x86-64", kIntel}}, {kAarch64, {nullptr, "generic"}}};
    for (auto& [arch, platform] : *platforms) {
      std::string error;
      platform.target = llvm::TargetRegistry::lookupTarget(
          ParseIsa(absl::StrCat(arch, " "))->triple, error);
      QUERN_CHECK(platform.target != nullptr);
    }
    return platforms;
  }();
  return kPlatforms->at(isa.arch);
}

std::unique_ptr<llvm::TargetMachine> MakeTargetMachine(const Isa& isa) {
  llvm::TargetOptions options;
  options.FunctionSections = true;
  options.DataSections = false;
  const Platform& platform = PlatformOf(isa);
  std::unique_ptr<llvm::TargetMachine> machine(
      platform.target->createTargetMachine(
          isa.triple, platform.cpu, isa.features, options, llvm::Reloc::PIC_,
          llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  QUERN_CHECK(machine != nullptr);
  return machine;
}

void Optimize(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::PassBuilder builder(&machine);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);

  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  passes.addPass(llvm::createFunctionToLoopPassAdaptor(
      llvm::LICMPass(llvm::LICMOptions()), /*UseMemorySSA=*/true));
  passes.addPass(llvm::SimplifyCFGPass());
  llvm::ModulePassManager pipeline;
  pipeline.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(passes)));
  pipeline.run(module, modules);
}

// Receives the outcome of one link; jitlink::link calls it before it returns,
// since the in-process memory manager and the lookup below never defer.
class LinkOutcome {
 public:
  absl::Status status = absl::InternalError("the link did not end");
  void* entry = nullptr;
  std::optional<jitlink::JITLinkMemoryManager::FinalizedAlloc> allocation;
};

class LinkContext final : public jitlink::JITLinkContext {
 public:
  LinkContext(jitlink::JITLinkMemoryManager& memory, std::string name,
              LinkOutcome& outcome)
      : JITLinkContext(nullptr),
        memory_(memory),
        name_(std::move(name)),
        outcome_(outcome) {}

  jitlink::JITLinkMemoryManager& getMemoryManager() override { return memory_; }

  void notifyFailed(llvm::Error error) override {
    outcome_.status =
        FromLlvm(absl::StrCat("cannot link kernel ", name_), std::move(error));
  }

  void lookup(
      const LookupMap& symbols,
      std::unique_ptr<jitlink::JITLinkAsyncLookupContinuation> then) override {
    jitlink::AsyncLookupResult found;
    for (const auto& [symbol, flags] : symbols) {
      void* address = symbol == "memcpy"    ? Address(&std::memcpy)
                      : symbol == "memmove" ? Address(&std::memmove)
                      : symbol == "memset"  ? Address(&std::memset)
                      // Of f64, where the instruction is not there.
                      : symbol == "fma" ? Address(static_cast<Fma*>(&std::fma))
                                        : nullptr;
      if (address == nullptr) {
        then->run(llvm::make_error<llvm::StringError>(
            "the symbol '" + symbol.str() + "' is not allowed",
            llvm::inconvertibleErrorCode()));
        return;
      }
      found[symbol] = {llvm::orc::ExecutorAddr::fromPtr(address),
                       llvm::JITSymbolFlags::Exported};
    }
    then->run(std::move(found));
  }

  llvm::Error notifyResolved(jitlink::LinkGraph& graph) override {
    for (jitlink::Symbol* symbol : graph.defined_symbols()) {
      if (symbol->hasName() && symbol->isCallable() &&
          symbol->getName() == name_) {
        outcome_.entry = symbol->getAddress().toPtr<void*>();
        return llvm::Error::success();
      }
    }
    return llvm::make_error<llvm::StringError>("the object does not define it",
                                               llvm::inconvertibleErrorCode());
  }

  void notifyFinalized(
      jitlink::JITLinkMemoryManager::FinalizedAlloc allocation) override {
    outcome_.allocation = std::move(allocation);
    outcome_.status = absl::OkStatus();
  }

 private:
  using Fma = double(double, double, double);

  template <typename Function>
  static void* Address(Function* function) {
    return reinterpret_cast<void*>(function);
  }

  jitlink::JITLinkMemoryManager& memory_;
  const std::string name_;
  LinkOutcome& outcome_;
};

class JitLinkedObject final : public LinkedObject {
 public:
  JitLinkedObject(std::unique_ptr<jitlink::JITLinkMemoryManager> memory,
                  jitlink::JITLinkMemoryManager::FinalizedAlloc allocation,
                  void* entry)
      : memory_(std::move(memory)),
        allocation_(std::move(allocation)),
        entry_(entry) {}

  ~JitLinkedObject() override {
    // Fails only if munmap does, and then there is nobody to tell.
    llvm::consumeError(memory_->deallocate(std::move(allocation_)));
  }

  void* entry() const override { return entry_; }

 private:
  std::unique_ptr<jitlink::JITLinkMemoryManager> memory_;
  jitlink::JITLinkMemoryManager::FinalizedAlloc allocation_;
  void* entry_;
};

// What LLVM needs to decode and print instructions.
class Decoder {
 public:
  explicit Decoder(const Isa& isa)
      : platform_(PlatformOf(isa)),
        triple_(isa.triple),
        registers_(platform_.target->createMCRegInfo(isa.triple)),
        info_(platform_.target->createMCAsmInfo(*registers_, isa.triple,
                                                options_)),
        subtarget_(platform_.target->createMCSubtargetInfo(
            isa.triple, platform_.cpu, isa.features)),
        instructions_(platform_.target->createMCInstrInfo()),
        context_(triple_, info_.get(), registers_.get(), subtarget_.get()),
        disassembler_(
            platform_.target->createMCDisassembler(*subtarget_, context_)),
        printer_(platform_.target->createMCInstPrinter(
            triple_, platform_.syntax, *info_, *instructions_, *registers_)) {
    printer_->setPrintBranchImmAsAddress(true);
  }

  // Appends the instructions of `code`.
  void Print(llvm::ArrayRef<uint8_t> code, llvm::raw_ostream& out) {
    for (uint64_t at = 0; at < code.size();) {
      llvm::MCInst instruction;
      uint64_t size = 0;
      out << llvm::format_hex_no_prefix(at, 6) << ":";
      if (disassembler_->getInstruction(instruction, size, code.slice(at), at,
                                        llvm::nulls()) ==
          llvm::MCDisassembler::Success) {
        printer_->printInst(&instruction, at, "", *subtarget_, out);
      } else {
        out << "\t(bad)";
      }
      out << "\n";
      at += size == 0 ? 1 : size;
    }
  }

 private:
  const Platform& platform_;
  llvm::MCTargetOptions options_;
  llvm::Triple triple_;
  std::unique_ptr<llvm::MCRegisterInfo> registers_;
  std::unique_ptr<llvm::MCAsmInfo> info_;
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget_;
  std::unique_ptr<llvm::MCInstrInfo> instructions_;
  llvm::MCContext context_;
  std::unique_ptr<llvm::MCDisassembler> disassembler_;
  std::unique_ptr<llvm::MCInstPrinter> printer_;
};

}  // namespace

std::string AssemblerVersion() {
  return absl::StrCat("llvm ", LLVM_VERSION_STRING);
}

const std::map<std::string, bool>& HostFeatures() {
  // Asked once: virtual machines trap the instruction that tells.
  static const auto* const kFeatures = [] {
    auto* features = new std::map<std::string, bool>;
    for (const auto& feature : llvm::sys::getHostCPUFeatures()) {
      (*features)[feature.getKey().str()] = feature.getValue();
    }
    return features;
  }();
  return *kFeatures;
}

absl::StatusOr<std::string> CompileToObject(absl::string_view text,
                                            const Isa& isa) {
  const std::unique_ptr<llvm::TargetMachine> machine = MakeTargetMachine(isa);
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  // The parser wants a terminating zero, which a copy has.
  const std::unique_ptr<llvm::MemoryBuffer> buffer =
      llvm::MemoryBuffer::getMemBufferCopy(Ref(text), "kernel");
  const std::unique_ptr<llvm::Module> module =
      llvm::parseAssembly(buffer->getMemBufferRef(), diagnostic, context);
  if (module == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "kernel text does not parse at line ", diagnostic.getLineNo(), ": ",
        diagnostic.getMessage().str()));
  }
  module->setDataLayout(machine->createDataLayout());
  module->setTargetTriple(isa.triple);
  std::string complaint;
  llvm::raw_string_ostream complaints(complaint);
  if (llvm::verifyModule(*module, &complaints)) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernel text is not valid: ", complaint));
  }
  Optimize(*module, *machine);

  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream out(object);
  llvm::legacy::PassManager emission;
  if (machine->addPassesToEmitFile(emission, out, nullptr,
                                   llvm::CodeGenFileType::ObjectFile)) {
    return absl::InternalError(
        absl::StrCat("llvm cannot emit objects for ", isa.arch));
  }
  emission.run(*module);
  return std::string(object.begin(), object.end());
}

absl::StatusOr<std::string> DisassembleObject(absl::string_view object,
                                              const Isa& isa) {
  const std::unique_ptr<llvm::MemoryBuffer> buffer =
      llvm::MemoryBuffer::getMemBufferCopy(Ref(object), "kernel");
  auto file = llvm::object::ObjectFile::createObjectFile(*buffer);
  if (!file) return FromLlvm("cannot read the object", file.takeError());
  Decoder decoder(isa);
  std::string text;
  llvm::raw_string_ostream out(text);
  for (const llvm::object::SectionRef& section : (*file)->sections()) {
    if (!section.isText() || section.getSize() == 0) continue;
    auto name = section.getName();
    if (!name) return FromLlvm("cannot read the object", name.takeError());
    auto code = section.getContents();
    if (!code) return FromLlvm("cannot read the object", code.takeError());
    out << *name << ":\n";
    decoder.Print(
        llvm::ArrayRef<uint8_t>(code->bytes_begin(), code->bytes_end()), out);
  }
  return out.str();
}

absl::StatusOr<std::unique_ptr<LinkedObject>> LinkObject(
    absl::string_view object, const std::string& name) {
  const std::unique_ptr<llvm::MemoryBuffer> buffer =
      llvm::MemoryBuffer::getMemBufferCopy(Ref(object), name);
  auto graph = jitlink::createLinkGraphFromObject(buffer->getMemBufferRef());
  if (!graph) {
    return FromLlvm(absl::StrCat("cannot link kernel ", name),
                    graph.takeError());
  }
  auto memory = jitlink::InProcessMemoryManager::Create();
  if (!memory) {
    return FromLlvm("cannot make executable memory", memory.takeError());
  }
  LinkOutcome outcome;
  jitlink::link(std::move(*graph),
                std::make_unique<LinkContext>(**memory, name, outcome));
  QUERN_RETURN_IF_ERROR(outcome.status);
  return std::make_unique<JitLinkedObject>(
      std::move(*memory), std::move(*outcome.allocation), outcome.entry);
}

}  // namespace quern::cpu
