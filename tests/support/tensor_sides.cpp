#include "support/tensor_sides.h"

#include "eigenscale/comm/device_transfer.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>

#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace eigenscale::test {
namespace {

enum class Side { kUnknown, kHost, kDevice };

/// What is known of pieces of memory. Held weakly, so that no other gets the same name.
class Sides {
 public:
  Side of(const torch::Tensor& tensor) const {
    const auto found = known_.find(tensor.storage().unsafeGetStorageImpl());
    return found == known_.end() ? Side::kUnknown : found->second.side;
  }

  void set(const torch::Tensor& tensor, Side side) {
    if (side == Side::kUnknown) {
      return;
    }
    auto* storage = tensor.storage().unsafeGetStorageImpl();
    known_.insert_or_assign(storage, Entry{side, tensor.storage().getWeakStorageImpl()});
    if (known_.size() > 2 * kept_ + 1000) {
      std::erase_if(known_, [](const auto& entry) { return entry.second.storage.expired(); });
      kept_ = known_.size();
    }
  }

 private:
  struct Entry {
    Side side;
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  };
  std::map<const c10::StorageImpl*, Entry> known_;
  std::size_t kept_ = 0;
};

std::mutex mutex;
Sides& sides() {
  static auto& all = *new Sides;
  return all;
}
std::function<void(const std::string&)>& reporter() {
  static auto& report = *new std::function<void(const std::string&)>;
  return report;
}

/// Operations within operations are libtorch's own business.
thread_local int depth = 0;

struct Context final : at::ObserverContext {
  Side outputs = Side::kUnknown;
};

void collect(const c10::IValue& value, std::vector<torch::Tensor>& tensors) {
  const auto take = [&](const torch::Tensor& tensor) {
    if (tensor.defined() && tensor.has_storage()) {
      tensors.push_back(tensor);
    }
  };
  if (value.isTensor()) {
    take(value.toTensor());
  } else if (value.isTensorList()) {
    for (const auto& tensor : value.toTensorVector()) {
      take(tensor);
    }
  } else if (value.isOptionalTensorList()) {
    const auto list = value.toOptionalTensorList();
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (const auto tensor = list.get(i); tensor) {
        take(*tensor);
      }
    }
  }
}

/// The argument "device" where there is one and it is given.
std::optional<torch::Device> asked_device(const at::RecordFunction& function) {
  const auto name = function.operator_name();
  if (!name) {
    return {};
  }
  const auto operation = c10::Dispatcher::singleton().findSchema(*name);
  if (!operation) {
    return {};
  }
  const auto& arguments = operation->schema().arguments();
  const auto inputs = function.inputs();
  for (std::size_t i = 0; i < arguments.size() && i < inputs.size(); ++i) {
    if (arguments[i].name() == "device" && inputs[i].isDevice()) {
      return inputs[i].toDevice();
    }
  }
  return {};
}

void look_at(const at::RecordFunction& function, Context& context) {
  const std::string_view name = function.name();
  std::vector<torch::Tensor> tensors;
  for (const auto& input : function.inputs()) {
    collect(input, tensors);
  }
  const auto asked = asked_device(function);
  const std::lock_guard lock(mutex);
  bool device = false;
  bool host = false;
  bool host_array = false;
  for (const auto& tensor : tensors) {
    const auto side = sides().of(tensor);
    device = device || side == Side::kDevice;
    host = host || side == Side::kHost;
    host_array = host_array || (side == Side::kHost && tensor.dim() > 0);
  }
  if (name == "aten::set_data" || name == "aten::_has_compatible_shallow_copy_type") {
    return;  // another tensor in its place, carried before
  }
  const bool counted = is_carrying();
  const auto report = [&](const char* what) {
    if (counted) {
      return;
    }
    reporter()(std::string(what) + ": " + function.name());
  };
  if (tensors.empty()) {  // makes one
    context.outputs =
        !asked ? Side::kHost : (asked == double_device() ? Side::kDevice : Side::kUnknown);
    return;
  }
  if (name == "aten::to" || name == "aten::_to_copy") {
    if (asked == double_device() ? !device : (device && asked)) {
      report("a silent copy");
    }
    const bool leaves = counted && asked && asked != double_device();
    if (asked == double_device() || (device && !leaves)) {
      context.outputs = Side::kDevice;
    } else {
      context.outputs = device || host ? Side::kHost : Side::kUnknown;
    }
    return;
  }
  if (device && (name == "aten::item" || name == "aten::equal" || name == "aten::is_nonzero" ||
                 name == "aten::allclose" || name == "aten::_local_scalar_dense")) {
    report("a silent wait for a number");
  }
  if (device && (name == "aten::copy_" ? host : host_array)) {
    report(name == "aten::copy_" ? "a silent copy" : "tensors of host and device in one operation");
  }
  context.outputs = device ? Side::kDevice : (host ? Side::kHost : Side::kUnknown);
  for (const auto& tensor : tensors) {
    if (sides().of(tensor) == Side::kUnknown && tensor.dim() > 0) {
      sides().set(tensor, context.outputs);
    }
  }
}

std::unique_ptr<at::ObserverContext> on_begin(const at::RecordFunction& function) {
  auto context = std::make_unique<Context>();
  if (depth++ == 0) {
    look_at(function, *context);
  }
  return context;
}

void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
  if (--depth > 0) {
    return;
  }
  std::vector<torch::Tensor> made;
  for (const auto& output : function.outputs()) {
    collect(output, made);
  }
  const std::lock_guard lock(mutex);
  for (const auto& tensor : made) {
    if (sides().of(tensor) == Side::kUnknown) {
      sides().set(tensor, static_cast<Context*>(context)->outputs);
    }
  }
}

}  // namespace

bool is_on_double(const torch::Tensor& tensor) {
  const std::lock_guard lock(mutex);
  return tensor.has_storage() && sides().of(tensor) == Side::kDevice;
}

bool take_as_double(const torch::Tensor& tensor) {
  const std::lock_guard lock(mutex);
  if (!tensor.defined() || !tensor.has_storage() || sides().of(tensor) == Side::kHost) {
    return !tensor.defined() || !tensor.has_storage();
  }
  sides().set(tensor, Side::kDevice);
  return true;
}

void watch_sides(std::function<void(const std::string&)> report) {
  reporter() = std::move(report);
  at::addGlobalCallback(at::RecordFunctionCallback(on_begin, on_end)
                            .needsInputs(true)
                            .needsOutputs(true)
                            .scopes({at::RecordScope::FUNCTION}));
}

}  // namespace eigenscale::test
