#include "eigenscale/core/trace.h"

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

TEST(Trace, RecordsOnlyAfterItStarted) {
  { const TraceSpan span("before"); }
  EXPECT_TRUE(trace_events().empty());
  start_trace();
  {
    const TraceSpan outer("outer");
    const TraceSpan inner("inner");
  }
  const auto events = trace_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].name, "inner");
  EXPECT_LE(events[1].begin_us, events[0].begin_us);
  EXPECT_GE(events[1].begin_us + events[1].duration_us, events[0].begin_us + events[0].duration_us);
}

TEST(Counters, AddUp) {
  count("test.bytes", 3);
  count("test.bytes", 4);
  EXPECT_EQ(counters().at("test.bytes"), 7);
}

}  // namespace
}  // namespace eigenscale
