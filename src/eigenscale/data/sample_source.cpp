#include "eigenscale/data/sample_source.h"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string_view>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/cifar_file.h"
#include "eigenscale/data/concatenated_source.h"
#include "eigenscale/data/hdf5_file.h"
#include "eigenscale/data/idx_file.h"
#include "eigenscale/data/npy_file.h"

namespace eigenscale {
namespace {

// "a/b.h5:x" with the extension ".h5" is the path "a/b.h5" and the selector "x".
bool split_behind(const std::string& text, std::string_view extension, std::string& path,
                  std::string& selector) {
  if (text.ends_with(extension)) {
    path = text;
    selector.clear();
    return true;
  }
  const auto place = text.rfind(std::string(extension) + ":");
  if (place == std::string::npos) {
    return false;
  }
  path = text.substr(0, place + extension.size());
  selector = text.substr(path.size() + 1);
  return true;
}

bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
}

// X-ubyte, X.idx, X.idx3, X-idx3 or X-idx3-WORD, each with or without .gz. By hand: std::regex
// recurses for every character and ends the program for long texts.
bool is_idx_name(std::string_view name) {
  if (name.ends_with(".gz")) {
    name.remove_suffix(3);
  }
  if (name.ends_with("-ubyte") || name.ends_with(".idx")) {
    return true;
  }
  const auto ends_in_idx = [](std::string_view text) {
    return text.size() >= 5 && std::isdigit(static_cast<unsigned char>(text.back())) != 0 &&
           (text.substr(text.size() - 5, 4) == "-idx" || text.substr(text.size() - 5, 4) == ".idx");
  };
  const auto dash = name.rfind('-');
  return ends_in_idx(name) || (dash != std::string_view::npos && is_word(name.substr(dash + 1)) &&
                               ends_in_idx(name.substr(0, dash)));
}

std::unique_ptr<SampleSource> open_by_extension(const std::string& specification) {
  std::string path;
  std::string selector;
  if (specification.ends_with(".npy")) {
    return std::make_unique<NpySource>(specification);
  }
  for (const std::string_view extension : {".h5", ".hdf5"}) {
    if (split_behind(specification, extension, path, selector)) {
      return open_hdf5(path, selector);
    }
  }
  if (split_behind(specification, ".bin", path, selector)) {
    return std::make_unique<CifarSource>(path, selector);
  }
  if (is_idx_name(specification)) {
    return std::make_unique<IdxSource>(specification);
  }
  throw InputError("cannot tell the format of '" + specification + "' by its name; supported are " +
                   (has_hdf5() ? "FILE.h5:DATASET, " : "") +
                   "FILE.npy, IDX (FILE.idx, FILE-idx3-ubyte, with or without .gz) and "
                   "FILE.bin (CIFAR)");
}

std::string description_text(const SampleSource& source) {
  std::ostringstream text;
  text << source.rows() << " rows of shape " << c10::IntArrayRef(source.row_shape()) << ", "
       << torch::toString(source.scalar_type());
  return text.str();
}

}  // namespace

std::vector<std::int64_t> SampleSource::shape_of(std::int64_t count) const {
  std::vector<std::int64_t> shape = {count};
  shape.insert(shape.end(), row_shape().begin(), row_shape().end());
  return shape;
}

std::unique_ptr<SampleSource> open_sample_source(const Communicator& communicator,
                                                 const std::string& specification) {
  std::unique_ptr<SampleSource> source;
  on_all_ranks(communicator, [&] { source = open_by_extension(specification); });
  // A path on a node's own disk may name another file on each node.
  const std::string own = description_text(*source);
  const std::string reference = broadcast(communicator, own, 0);
  on_all_ranks(communicator, [&] {
    if (own != reference) {
      throw InputError("'" + specification + "' is not the same file on all ranks: rank " +
                       std::to_string(communicator.rank()) + " sees " + own + ", rank 0 " +
                       reference);
    }
  });
  return source;
}

std::unique_ptr<SampleSource> open_sample_sources(const Communicator& communicator,
                                                  const std::vector<std::string>& specifications) {
  if (specifications.size() == 1) {
    return open_sample_source(communicator, specifications.front());
  }
  std::vector<std::unique_ptr<SampleSource>> parts;
  for (const auto& specification : specifications) {
    parts.push_back(open_sample_source(communicator, specification));
  }
  std::unique_ptr<SampleSource> all;
  on_all_ranks(communicator, [&] { all = std::make_unique<ConcatenatedSource>(std::move(parts)); });
  return all;
}

}  // namespace eigenscale
