// Package runner runs a machine on a host: it tells it what happens, one thing after
// another, has what it asks for carried out, and makes its journal durable before
// whatever depends on it.
//
//	Runner  the loop, which owns the machine
//	Inbox   where it hears what the machine is to be told
//	State   the machine's state as of its last step, for everybody else
//	Steps   the durable steps, and who is told of each
//
// How an effect is carried out it is told (Config.Work). Effects run in goroutines of
// their own and hand their Done back to the loop, which never waits for a disk.
package runner
