#include "support/operation_observer.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace eigenscale::test {
namespace {

std::vector<Observer>& observers() {
  static auto& all = *new std::vector<Observer>;
  return all;
}

/// Which arguments an operation writes, by its schema. Null where only shapes are looked at: views,
/// and what makes a tensor like another.
const std::vector<bool>* written_arguments(const at::RecordFunction& function) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::string, std::vector<bool>>;
  const auto name = function.operator_name();
  if (!name) {
    return nullptr;
  }
  const std::lock_guard lock(mutex);
  const auto key = name->name + "." + name->overload_name;
  const auto [entry, is_new] = known.try_emplace(key);
  auto& written = entry->second;
  const auto operation = c10::Dispatcher::singleton().findSchema(*name);
  const std::string& text = name->name;
  const bool shapes_only = text.ends_with("_like") || text.starts_with("aten::new_") ||
                           text.starts_with("aten::is_") || text.starts_with("aten::result_type") ||
                           text == "aten::record_stream";
  if (is_new && operation && !shapes_only) {
    const auto& schema = operation->schema();
    bool view = false;
    for (const auto& result : schema.returns()) {
      view = view || (result.alias_info() != nullptr && !result.alias_info()->isWrite());
    }
    for (const auto& argument : schema.arguments()) {
      if (!view) {
        written.push_back(argument.alias_info() != nullptr && argument.alias_info()->isWrite());
      }
    }
  }
  return written.empty() ? nullptr : &written;
}

void tell(const at::RecordFunction& function, const c10::IValue& value, bool written) {
  std::vector<torch::Tensor> tensors;
  if (value.isTensor()) {
    tensors.push_back(value.toTensor());
  } else if (value.isTensorList()) {
    tensors = value.toTensorVector();
  }
  for (const auto& tensor : tensors) {
    for (const auto& observer : observers()) {
      observer(function.name(), tensor, written);
    }
  }
}

std::unique_ptr<at::ObserverContext> on_begin(const at::RecordFunction& function) {
  if (const auto* written = written_arguments(function); written != nullptr) {
    const auto inputs = function.inputs();
    for (std::size_t i = 0; i < inputs.size() && i < written->size(); ++i) {
      tell(function, inputs[i], (*written)[i]);
    }
  }
  return nullptr;
}

void on_end(const at::RecordFunction& function, at::ObserverContext*) {
  if (written_arguments(function) != nullptr) {
    for (const auto& output : function.outputs()) {
      tell(function, output, true);
    }
  }
}

}  // namespace

void observe_operations(Observer observer) {
  if (observers().empty()) {
    at::addGlobalCallback(at::RecordFunctionCallback(on_begin, on_end)
                              .needsInputs(true)
                              .needsOutputs(true)
                              .scopes({at::RecordScope::FUNCTION}));
  }
  observers().push_back(std::move(observer));
}

}  // namespace eigenscale::test
