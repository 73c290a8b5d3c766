// Package supervisor runs a command so that nothing of it outlives who asked for
// it.
//
// A Supervisor, in the agent's process, runs the command through a small process
// between the two, the watchdog, which is the same program again (Watch). The
// watchdog puts the command into a process group of its own, and itself becomes
// the parent of whatever the command's processes leave behind
// (PR_SET_CHILD_SUBREAPER), in other process groups and sessions too. It ends
// only when nothing of all that is left.
//
// # Stopping
//
// The watchdog gets its orders through a pipe: each is a Bound. It stops the
// command when
//
//   - the pipe is closed: by Stop, or by the kernel when the agent's process is
//     gone, however it went;
//   - the bound's Until has passed on the boot-time clock, which goes on while
//     the host is suspended: so an agent that is stopped (SIGSTOP) or hangs
//     cannot keep the command running;
//   - it gets SIGTERM or SIGINT itself.
//
// A stop is SIGTERM to the command's process group, and to what has left it,
// then SIGKILL, again and again until nothing is left. KILL comes just before
// the bound's Stop is over, counted from when the stop was due, not from when
// it began: after a resume from suspend it can come at once.
//
// A command that ends by itself is treated as stopped: what it has left behind
// goes as above. Then the Supervisor starts it again, after a pause that grows.
//
// # What it does not promise
//
// A watchdog that is itself stopped with SIGSTOP enforces nothing. One that is
// killed takes the command's first process with it (PR_SET_PDEATHSIG), and the
// Supervisor, while it lives, kills the rest of the process group; what has left
// the group lives on. Processes that run as a user whom the watchdog may not
// signal cannot be stopped by it; nor can one that is stuck in the kernel. Then
// Stop fails, and says so.
package supervisor
