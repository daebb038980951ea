#pragma once

// For the one file of a test program that has `main`. MPI closes its plugins when it ends. What
// they have kept could not be named then, and the list of known leaks (tests/sanitizers/leaks.supp)
// goes by names: under a sanitizer this stands in for the C library's function.
#ifdef __SANITIZE_ADDRESS__
extern "C" int dlclose(void* /*library*/) { return 0; }
#endif
