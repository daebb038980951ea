#include "eigenscale/data/snapshot.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/data/row_writer.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kManifest = "manifest.json";

fs::path array_file(const fs::path& folder, const std::string& name) {
  return folder / format_text("{}.npy", name);
}

/// The snapshots in a directory by their number.
std::map<std::int64_t, fs::path> snapshots_in(const SnapshotKind& kind, const fs::path& directory) {
  std::map<std::int64_t, fs::path> found;
  if (!fs::exists(directory)) {
    return found;
  }
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (const auto number = snapshot_number(kind, entry->path())) {
      found[*number] = entry->path();
    }
  }
  if (error) {
    throw InputError("cannot read the directory '" + directory.string() + "': " + error.message());
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
    throw InputError("'" + path.string() + "' is missing or unreadable");
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

void check(const std::error_code& error, const std::string& what) {
  if (error) {
    throw OutputError("cannot " + what + ": " + error.message());
  }
}

void remove_directory(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  check(error, "remove '" + path.string() + "'");
}

void rename_directory(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  check(error, "rename '" + from.string() + "' to '" + to.string() + "'");
}

Json read_manifest(const SnapshotKind& kind, const fs::path& path) {
  std::ifstream file(path / kManifest);
  auto manifest = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object()) {
    throw InputError("'" + (path / kManifest).string() + "' is missing or damaged");
  }
  if (manifest.value("format", "") != kind.format || manifest.value("version", 0) > kind.version) {
    throw InputError("'" + path.string() + "' is of format " + manifest.value("format", "?") + " " +
                     std::to_string(manifest.value("version", 0)) + "; this version reads " +
                     kind.format + " up to " + std::to_string(kind.version));
  }
  return manifest;
}

}  // namespace

SnapshotWriter::SnapshotWriter(const Communicator& communicator, SnapshotKind kind,
                               fs::path directory, std::int64_t number)
    : communicator_(communicator), kind_(std::move(kind)), directory_(std::move(directory)) {
  const auto name = format_text("{}-{:010}", kind_.prefix, number);
  path_ = directory_ / name;
  partial_ = directory_ / format_text(".{}.partial", name);
  on_first_rank(communicator_, [&] {
    remove_directory(partial_);
    std::error_code error;
    fs::create_directories(partial_, error);
    check(error, "create '" + partial_.string() + "'");
  });
}

void SnapshotWriter::write_files(const std::function<void(const fs::path& folder)>& write) {
  on_first_rank(communicator_, [&] { write(partial_); });
}

void SnapshotWriter::write_rows(const std::string& name, const torch::Tensor& own_rows) {
  RowArray array;
  array.path = array_file(partial_, name);
  array.type = own_rows.scalar_type();
  array.row_shape = own_rows.sizes().slice(1).vec();
  array.own_rows = own_rows.size(0);
  const auto writer = create_npy(communicator_, array);
  writer->append(own_rows.contiguous());
  writer->commit();
}

void SnapshotWriter::publish(std::int64_t keep) {
  on_first_rank(communicator_, [&] {
    Json files = Json::object();
    for (const auto& entry : fs::directory_iterator(partial_)) {
      const auto sum = sum_file(entry.path());
      files[entry.path().filename()] = {{"bytes", sum.bytes}, {"crc32", sum.crc}};
    }
    const Json manifest = {{"format", kind_.format}, {"version", kind_.version}, {"files", files}};
    write_file(partial_ / kManifest, manifest.dump(2) + "\n");
    sync_directory(partial_);
    if (fs::exists(path_)) {  // written before by a run that was resumed further back
      const auto old = directory_ / ".replaced";
      remove_directory(old);
      rename_directory(path_, old);
      rename_directory(partial_, path_);
      remove_directory(old);
    } else {
      rename_directory(partial_, path_);
    }
    sync_directory(directory_);
    auto all = snapshots_in(kind_, directory_);
    while (std::ssize(all) > std::max<std::int64_t>(keep, 1)) {
      // Hidden first: one that is half removed must not look complete.
      const auto hidden = directory_ / ".removed";
      remove_directory(hidden);
      rename_directory(all.begin()->second, hidden);
      remove_directory(hidden);
      all.erase(all.begin());
    }
  });
}

std::optional<std::int64_t> snapshot_number(const SnapshotKind& kind, const fs::path& path) {
  const std::string name = path.filename();
  const auto digits = kind.prefix.size() + 1;
  std::int64_t number = 0;
  if (name.size() <= digits || !name.starts_with(kind.prefix) || name[digits - 1] != '-') {
    return std::nullopt;
  }
  const auto [end, error] =
      std::from_chars(name.data() + digits, name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? std::optional(number)
                                                                  : std::nullopt;
}

std::optional<fs::path> newest_snapshot(const Communicator& communicator, const SnapshotKind& kind,
                                        const fs::path& directory) {
  std::string newest;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() == 0) {
      const auto all = snapshots_in(kind, directory);
      newest = all.empty() ? "" : all.rbegin()->second.string();
    }
  });
  newest = broadcast(communicator, newest, 0);
  return newest.empty() ? std::nullopt : std::optional<fs::path>(newest);
}

void verify_snapshot(const Communicator& communicator, const SnapshotKind& kind,
                     const fs::path& path) {
  on_all_ranks(communicator, [&] {
    const auto manifest = read_manifest(kind, path);
    int next = 0;
    for (const auto& [name, expected] : manifest["files"].items()) {
      if (next++ % communicator.size() != communicator.rank()) {
        continue;
      }
      const auto sum = sum_file(path / name);
      if (sum.bytes != expected.value("bytes", std::int64_t{-1}) ||
          sum.crc != expected.value("crc32", 0U)) {
        throw InputError("'" + (path / name).string() +
                         "' is damaged: " + std::to_string(sum.bytes) + " bytes of CRC-32 " +
                         std::to_string(sum.crc) + ", the manifest says " + expected.dump() +
                         "; remove '" + path.string() + "' to go on from the one before");
      }
    }
  });
}

std::int64_t snapshot_rows(const Communicator& communicator, const fs::path& path,
                           const std::string& name) {
  return open_sample_source(communicator, array_file(path, name))->rows();
}

torch::Tensor read_snapshot_rows(const Communicator& communicator, const fs::path& path,
                                 const std::string& name, RowRange range) {
  const auto source = open_sample_source(communicator, array_file(path, name));
  torch::Tensor rows;
  on_all_ranks(communicator, [&] {
    if (range.begin < 0 || range.end < range.begin || range.end > source->rows()) {
      throw InputError("'" + source->name() + "' holds " + std::to_string(source->rows()) +
                       " rows; " + std::to_string(range.begin) + " to " +
                       std::to_string(range.end) + " are not among them");
    }
    rows = source->read_rows(range);
  });
  return rows;
}

}  // namespace eigenscale
