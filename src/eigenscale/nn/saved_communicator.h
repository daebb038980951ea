#pragma once

#include <torch/torch.h>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// A borrowed communicator in the saved data of an autograd function, which must outlive the graph.
struct SavedCommunicator final : torch::CustomClassHolder {
  explicit SavedCommunicator(const Communicator* of_forward) : communicator(of_forward) {}
  const Communicator* communicator;
};

/// [local] For `AutogradContext::saved_data`, and back.
inline c10::IValue save_communicator(const Communicator* communicator) {
  return c10::IValue::make_capsule(c10::make_intrusive<SavedCommunicator>(communicator));
}

inline const Communicator& saved_communicator(const c10::IValue& value) {
  return *static_cast<const SavedCommunicator&>(*value.toCapsule()).communicator;
}

}  // namespace eigenscale
