#pragma once

namespace eigenscale {

/// [local] From now on the kernel is asked for huge pages (2 MiB) for tensors of several MiB on the
/// host, which Linux gives unasked on some machines only: large blocks come from the system page by
/// page, and are given back. Where it does not offer them nothing changes.
void use_huge_pages();

}  // namespace eigenscale
