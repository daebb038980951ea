#include "eigenscale/data/cifar_file.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "eigenscale/core/errors.h"

namespace eigenscale {

struct CifarSource::Opened {
  std::unique_ptr<InputFile> file;
  std::int64_t record_bytes;
  std::int64_t field_offset;
  std::int64_t field_bytes;
  SampleDescription description;
};

namespace {

constexpr std::int64_t kImageBytes = std::int64_t{3} * 32 * 32;
constexpr std::int64_t kCifar10Record = 1 + kImageBytes;
constexpr std::int64_t kCifar100Record = 2 + kImageBytes;

enum class Field { kImages, kLabels, kFineLabels, kCoarseLabels };

struct Selection {
  std::int64_t record_bytes = 0;  // 0: not told
  Field field = Field::kImages;
};

void apply_word(Selection& selection, const std::string& word, const std::string& path) {
  std::int64_t record_bytes = selection.record_bytes;
  if (word == "cifar10") {
    record_bytes = kCifar10Record;
  } else if (word == "cifar100") {
    record_bytes = kCifar100Record;
  } else if (word == "labels") {
    selection.field = Field::kLabels;
  } else if (word == "fine-labels" || word == "coarse-labels") {
    selection.field = word == "fine-labels" ? Field::kFineLabels : Field::kCoarseLabels;
    record_bytes = kCifar100Record;
  } else {
    throw InputError("'" + word + "' behind '" + path +
                     "' is unknown; known are cifar10, cifar100, labels, fine-labels and "
                     "coarse-labels");
  }
  if (selection.record_bytes != 0 && selection.record_bytes != record_bytes) {
    throw InputError("'" + word + "' behind '" + path +
                     "' contradicts what stands before it: only CIFAR-100 has fine and coarse "
                     "labels");
  }
  selection.record_bytes = record_bytes;
}

Selection parse_selector(const std::string& path, const std::string& selector) {
  Selection selection;
  std::istringstream words(selector);
  for (std::string word; std::getline(words, word, ':');) {
    apply_word(selection, word, path);
  }
  return selection;
}

std::int64_t record_bytes_of(const InputFile& file, std::int64_t told) {
  const bool is_cifar10 = file.size() % kCifar10Record == 0;
  const bool is_cifar100 = file.size() % kCifar100Record == 0;
  const std::string found = "'" + file.name() + "' has " + std::to_string(file.size()) + " bytes";
  if (told != 0 && file.size() % told != 0) {
    throw InputError(found + ", which is not a multiple of a record's " + std::to_string(told) +
                     ": the last record is truncated at offset " +
                     std::to_string(file.size() / told * told));
  }
  if (told == 0 && is_cifar10 && is_cifar100) {
    throw InputError(found + ", which fits CIFAR-10 and CIFAR-100: write " + file.name() +
                     ":cifar10 or " + file.name() + ":cifar100");
  }
  if (told == 0 && !is_cifar10 && !is_cifar100) {
    throw InputError(found + ", a multiple neither of CIFAR-10's record of " +
                     std::to_string(kCifar10Record) + " nor of CIFAR-100's of " +
                     std::to_string(kCifar100Record) + ": truncated, or another kind of file");
  }
  return told != 0 ? told : is_cifar10 ? kCifar10Record : kCifar100Record;
}

}  // namespace

CifarSource::CifarSource(const std::string& path, const std::string& selector)
    : CifarSource([&] {
        const Selection selection = parse_selector(path, selector);
        auto file = std::make_unique<InputFile>(path);
        const std::int64_t record_bytes = record_bytes_of(*file, selection.record_bytes);
        const std::int64_t label_bytes = record_bytes - kImageBytes;
        const bool is_image = selection.field == Field::kImages;
        // The coarse label, if there is one, stands first; the fine one last.
        const std::int64_t field_offset = is_image ? label_bytes
                                          : selection.field == Field::kCoarseLabels
                                              ? 0
                                              : label_bytes - 1;
        SampleDescription description{
            path + (selector.empty() ? "" : ":" + selector), file->size() / record_bytes,
            is_image ? std::vector<std::int64_t>{3, 32, 32} : std::vector<std::int64_t>{},
            torch::kUInt8};
        return Opened{std::move(file), record_bytes, field_offset, is_image ? kImageBytes : 1,
                      std::move(description)};
      }()) {}

CifarSource::CifarSource(Opened opened)
    : SampleSource(std::move(opened.description)),
      file_(std::move(opened.file)),
      record_bytes_(opened.record_bytes),
      field_offset_(opened.field_offset),
      field_bytes_(opened.field_bytes) {}

torch::Tensor CifarSource::read_rows(RowRange range) const {
  // Whole records, a bounded number at a time, are cheaper to read than their fields one by one.
  constexpr std::int64_t kChunk = 1024;
  const auto result = torch::empty({range.size(), field_bytes_}, torch::kUInt8);
  for (std::int64_t row = range.begin; row < range.end; row += kChunk) {
    const std::int64_t count = std::min(kChunk, range.end - row);
    const auto records = torch::empty({count, record_bytes_}, torch::kUInt8);
    file_->read(row * record_bytes_, records.data_ptr(), records.numel());
    result.narrow(0, row - range.begin, count)
        .copy_(records.narrow(1, field_offset_, field_bytes_));
  }
  return result.view(shape_of(range.size()));
}

}  // namespace eigenscale
