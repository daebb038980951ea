# Copyright The eigenscale authors. SPDX-License-Identifier: Apache-2.0
"""Spack recipe: copy this folder to REPOSITORY/packages/eigenscale, then `spack install eigenscale`.
Not installed by the tests, which have no Spack; they check that it is Python and names the options of
CMakeLists.txt."""

from spack.package import *


class Eigenscale(CMakePackage):
    """Distributed spectral learning on MPI and libtorch: deep subspace clustering, data-parallel
    training, whitening and compression."""

    homepage = "https://github.com/eigenscale/eigenscale"
    git = "https://github.com/eigenscale/eigenscale.git"
    license("Apache-2.0")

    version("main", branch="main")

    variant("scalapack", default=True, description="Distributed dense linear algebra")
    variant("elpa", default=True, when="+scalapack", description="Eigenproblems with ELPA")
    variant("hdf5", default=True, description="Parallel HDF5")
    variant("nccl", default=False, description="Collectives over GPU memory")
    variant("onnx", default=False, description="Export of networks to ONNX")

    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("py-torch@1.13:")
    depends_on("openblas")
    depends_on("boost+program_options")
    depends_on("nlohmann-json@3.11:")
    depends_on("spdlog")
    depends_on("random123")
    depends_on("dlib")
    depends_on("zlib-api")
    depends_on("scalapack", when="+scalapack")
    depends_on("elpa+mpi", when="+elpa")
    depends_on("hdf5+mpi", when="+hdf5")
    depends_on("nccl", when="+nccl")
    depends_on("cuda", when="+nccl")
    depends_on("onnx", when="+onnx")
    depends_on("protobuf", when="+onnx")

    generator("ninja")

    def cmake_args(self):
        torch = join_path(self.spec["py-torch"].package.cmake_prefix_paths[0])
        return [
            self.define("CMAKE_PREFIX_PATH", torch),
            self.define("EIGENSCALE_BUILD_TESTS", False),
            self.define_from_variant("EIGENSCALE_WITH_SCALAPACK", "scalapack"),
            self.define_from_variant("EIGENSCALE_WITH_ELPA", "elpa"),
            self.define_from_variant("EIGENSCALE_WITH_HDF5", "hdf5"),
            self.define_from_variant("EIGENSCALE_WITH_NCCL", "nccl"),
            self.define_from_variant("EIGENSCALE_WITH_ONNX", "onnx"),
        ]
