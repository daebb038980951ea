#pragma once

#include <string>

namespace eigenscale {

/// [local] The processor whose kernels OpenBLAS has chosen for this one, such as "SkylakeX"; empty
/// for another BLAS.
std::string blas_kernels();

/// [local] The kernels to take instead of those that OpenBLAS `chose`: an OpenBLAS that is older
/// than its processor takes kernels without the vector instructions that the processor has, such as
/// those of 2004 ("Prescott"). Empty where the choice is a good one.
std::string better_blas_kernels(const std::string& chose, bool has_avx2, bool has_avx512);

/// [local] Before anything is computed: makes OpenBLAS take better kernels where it chose badly,
/// and sets OPENBLAS_CORETYPE for processes started from this one. Nothing happens where that
/// variable is set already, where OpenBLAS was built for one processor, and with another BLAS.
void choose_blas_kernels();

}  // namespace eigenscale
