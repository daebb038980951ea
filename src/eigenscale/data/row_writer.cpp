#include "eigenscale/data/row_writer.h"

#include <unistd.h>

#include <sstream>
#include <stdexcept>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

std::string RowArray::name() const {
  return dataset.empty() ? path.string() : path.string() + ":" + dataset;
}

RowWriter::RowWriter(const Communicator& communicator, RowArray array)
    : communicator_(communicator),
      temporary_(temporary_name(array.path, broadcast(communicator, unique_token(), 0))),
      array_(std::move(array)) {
  std::ostringstream layout;
  layout << array_.name() << ' ' << torch::toString(array_.type) << " x " << array_.row_shape;
  require_same_on_all_ranks(communicator, "the array to be written", layout.str());
  placement_ = place_rows(communicator, array_.own_rows);
  on_first_rank(communicator, [&] { ::close(create_temporary(temporary_, array_.path)); });
}

RowWriter::~RowWriter() {
  if (!committed_ && communicator_.rank() == 0) {
    ::unlink(temporary_.c_str());
  }
}

void RowWriter::append(const torch::Tensor& rows) {
  torch::Tensor contiguous;
  on_all_ranks(
      communicator_,
      [&] {
        auto shape = array_.row_shape;
        shape.insert(shape.begin(), rows.size(0));
        if (rows.scalar_type() != array_.type || rows.sizes() != shape) {
          throw std::logic_error("rows for '" + array_.name() + "' have another type or shape");
        }
        if (done_ + rows.size(0) > array_.own_rows) {
          throw std::logic_error("more rows for '" + array_.name() + "' than announced");
        }
        contiguous = on_host(rows.detach(), "files").contiguous();
      },
      ExitCode::kOutput);
  write_rows(placement_.first + done_, contiguous);
  done_ += rows.size(0);
}

void RowWriter::commit() {
  on_all_ranks(
      communicator_,
      [&] {
        if (done_ != array_.own_rows) {
          throw std::logic_error("fewer rows for '" + array_.name() + "' than announced");
        }
      },
      ExitCode::kOutput);
  finish();
  on_all_ranks(
      communicator_,
      [&] {
        if (communicator_.rank() == 0) {
          publish_file(temporary_, array_.path);
        }
      },
      ExitCode::kOutput);
  committed_ = true;
}

}  // namespace eigenscale
