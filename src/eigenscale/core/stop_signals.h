#pragma once

namespace eigenscale {

/// [local] From now on SIGUSR1 and SIGTERM ask this process to stop instead of ending it: a
/// scheduler sends them shortly before it takes the node away. A signal may reach one rank before
/// the others, so ranks must agree before they act on it.
void catch_stop_signals();

/// [local] Whether one has come. Any thread may ask.
bool stop_requested();

/// [local] Whether one has come, or `limit` seconds have passed since `begin` (of now_seconds());
/// 0: no limit.
bool stop_is_due(double begin, double limit);

}  // namespace eigenscale
