# cmake -DSOURCE=DIR -DOUTPUT=FILE -P write_commit.cmake: the source that says which commit this is;
# written only when that has changed.
execute_process(COMMAND git -c safe.directory=* -C ${SOURCE} describe --always --dirty=+ --abbrev=12 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[#include "eigenscale/bench/commit.h"

namespace eigenscale {

std::string commit() { return "@commit@"; }

}  // namespace eigenscale
]] @ONLY)
