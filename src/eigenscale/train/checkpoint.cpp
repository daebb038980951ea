#include "eigenscale/train/checkpoint.h"

#include <zlib.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_writer.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "eigenscale-checkpoint";
constexpr int kVersion = 1;

std::string moment_file(const std::string& moment) { return "optimizer-" + moment + ".npy"; }

/// The step of a checkpoint's directory name, none for any other name.
std::optional<std::int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename();
  constexpr std::string_view kPrefix = "step-";
  std::int64_t step = 0;
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const auto [end, error] =
      std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() ? std::optional(step)
                                                                  : std::nullopt;
}

/// The checkpoints in a directory by their step.
std::map<std::int64_t, fs::path> checkpoints_in(const fs::path& directory) {
  std::map<std::int64_t, fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(directory, none)) {
    if (const auto step = step_of(entry.path())) {
      found[*step] = entry.path();
    }
  }
  return found;
}

struct FileSum {
  std::int64_t bytes = 0;
  std::uint32_t crc = 0;
};

FileSum sum_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw InputError("checkpoint file '" + path.string() + "' is missing or unreadable");
  }
  FileSum sum;
  std::vector<char> piece(std::size_t{1} << 20);
  auto crc = ::crc32(0, nullptr, 0);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(piece.data()),
                  static_cast<uInt>(file.gcount()));
    sum.bytes += file.gcount();
  }
  sum.crc = static_cast<std::uint32_t>(crc);
  return sum;
}

void remove_directory(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) {
    throw OutputError("cannot remove '" + path.string() + "': " + error.message());
  }
}

void make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    throw OutputError("cannot create '" + path.string() + "': " + error.message());
  }
}

void rename_directory(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    throw OutputError("cannot rename '" + from.string() + "' to '" + to.string() +
                      "': " + error.message());
  }
}

void write_moments(const Communicator& communicator, const fs::path& directory,
                   const Optimizer& optimizer) {
  const RowPartition partition(optimizer.values(), communicator.size());
  const auto range = partition.range(communicator.rank());
  for (std::size_t i = 0; i < optimizer.moments().size(); ++i) {
    const auto& moment = optimizer.moments()[i];
    RowArray array;
    array.path = directory / moment_file(optimizer.moment_names()[i]);
    array.type = moment.scalar_type();
    array.own_rows = range.size();
    const auto writer = create_npy(communicator, array);
    writer->append(moment.narrow(0, range.begin - optimizer.owned().begin, range.size()));
    writer->commit();
  }
}

void write_manifest(const fs::path& directory) {
  Json files = Json::object();
  for (const auto& entry : fs::directory_iterator(directory)) {
    const auto sum = sum_file(entry.path());
    files[entry.path().filename()] = {{"bytes", sum.bytes}, {"crc32", sum.crc}};
  }
  write_file(directory / "manifest.json",
             Json{{"format", kFormat}, {"version", kVersion}, {"files", files}}.dump(2) + "\n");
}

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  auto json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    throw InputError("checkpoint file '" + path.string() + "' is missing or damaged");
  }
  return json;
}

void verify(const fs::path& path) {
  const auto manifest = read_json(path / "manifest.json");
  if (manifest.value("format", "") != kFormat || manifest.value("version", 0) > kVersion) {
    throw InputError("'" + path.string() + "' is of format " + manifest.value("format", "?") + " " +
                     std::to_string(manifest.value("version", 0)) + "; this version reads " +
                     kFormat + " up to " + std::to_string(kVersion));
  }
  for (const auto& [name, expected] : manifest.at("files").items()) {
    const auto sum = sum_file(path / name);
    if (sum.bytes != expected.value("bytes", std::int64_t{-1}) ||
        sum.crc != expected.value("crc32", 0U)) {
      throw InputError("checkpoint file '" + (path / name).string() +
                       "' is damaged: " + std::to_string(sum.bytes) + " bytes of CRC-32 " +
                       std::to_string(sum.crc) + ", the manifest says " + expected.dump() +
                       "; remove '" + path.string() + "' to go on from the one before");
    }
  }
}

}  // namespace

void write_checkpoint(const Communicator& communicator, const fs::path& directory,
                      const Checkpoint& checkpoint, const Optimizer& optimizer, std::int64_t keep) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step-%010lld", static_cast<long long>(checkpoint.step));
  const auto final_name = directory / name.data();
  const auto partial = temporary_name(final_name);
  on_first_rank(communicator, [&] {
    remove_directory(partial);
    make_directory(partial);
    write_safetensors(partial / "model.safetensors", checkpoint.model);
    if (!checkpoint.best.empty()) {
      write_safetensors(partial / "best.safetensors", checkpoint.best);
    }
    write_file(partial / "state.json", checkpoint.state.dump(1) + "\n");
  });
  write_moments(communicator, partial, optimizer);
  on_first_rank(communicator, [&] {
    write_manifest(partial);
    sync_directory(partial);
    if (fs::exists(final_name)) {  // written before by a run that was resumed further back
      const auto old = directory / ".replaced";
      remove_directory(old);
      rename_directory(final_name, old);
      rename_directory(partial, final_name);
      remove_directory(old);
    } else {
      rename_directory(partial, final_name);
    }
    sync_directory(directory);
    auto all = checkpoints_in(directory);
    while (std::ssize(all) > keep) {
      // Hidden first: one that is half removed must not look complete.
      const auto hidden = directory / ".removed";
      remove_directory(hidden);
      rename_directory(all.begin()->second, hidden);
      remove_directory(hidden);
      all.erase(all.begin());
    }
  });
}

std::optional<fs::path> newest_checkpoint(const Communicator& communicator,
                                          const fs::path& directory) {
  std::string newest;
  if (communicator.rank() == 0) {
    const auto all = checkpoints_in(directory);
    newest = all.empty() ? "" : all.rbegin()->second.string();
  }
  newest = broadcast(communicator, newest, 0);
  return newest.empty() ? std::nullopt : std::optional<fs::path>(newest);
}

Checkpoint read_checkpoint(const Communicator& communicator, const fs::path& path) {
  Checkpoint checkpoint;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() == 0) {
      verify(path);
    }
  });
  on_all_ranks(communicator, [&] {
    checkpoint.step = step_of(path).value_or(0);
    checkpoint.state = read_json(path / "state.json");
    checkpoint.model = read_safetensors(path / "model.safetensors");
    if (fs::exists(path / "best.safetensors")) {
      checkpoint.best = read_safetensors(path / "best.safetensors");
    }
  });
  return checkpoint;
}

void read_moments(const Communicator& communicator, const fs::path& path, Optimizer& optimizer) {
  for (std::size_t i = 0; i < optimizer.moments().size(); ++i) {
    const auto file = path / moment_file(optimizer.moment_names()[i]);
    on_all_ranks(communicator, [&] {
      if (!fs::exists(file)) {
        throw InputError("'" + path.string() + "' has no " + file.filename().string() +
                         ": it was written with another --optimizer or --momentum");
      }
    });
    const auto source = open_sample_source(communicator, file);
    on_all_ranks(communicator, [&] {
      if (source->rows() != optimizer.values()) {
        throw InputError("'" + file.string() + "' holds " + std::to_string(source->rows()) +
                         " numbers; the network has " + std::to_string(optimizer.values()));
      }
      torch::Tensor(optimizer.moments()[i]).copy_(source->read_rows(optimizer.owned()));
    });
  }
}

}  // namespace eigenscale
