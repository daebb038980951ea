#include "eigenscale/comm/huge_pages.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <torch/torch.h>
#include <torch/version.h>

#include <cstddef>
#include <cstdint>

namespace eigenscale {
namespace {

constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
// Below, the ends that no huge page covers are a large part.
constexpr std::size_t kFewest = std::size_t{4} << 20;

void ask_for_huge_pages(void* data, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const auto first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (begin + bytes) / kHugePage * kHugePage;
  if (first < end) {
    // A wish: what the kernel does not grant stays as it is.
    ::madvise(static_cast<std::byte*>(data) + (first - begin), end - first, MADV_HUGEPAGE);
  }
}

/// libtorch's memory, with that wish.
class HugePageAllocator final : public c10::Allocator {
 public:
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  c10::DataPtr allocate(std::size_t bytes) override { return allocated(bytes); }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    default_copy_data(to, from, count);
  }
#else
  c10::DataPtr allocate(std::size_t bytes) const override { return allocated(bytes); }
#endif
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }

 private:
  static c10::DataPtr allocated(std::size_t bytes) {
    void* data = c10::alloc_cpu(bytes);
    if (bytes >= kFewest) {
      ask_for_huge_pages(data, bytes);
    }
    return {data, data, &c10::free_cpu, c10::Device(c10::kCPU)};
  }
};

}  // namespace

void use_huge_pages() {
  static HugePageAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

}  // namespace eigenscale
