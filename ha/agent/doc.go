// Package agent runs the protocol of package ha on one instance. It carries
// out the effects that the machine asks for, against the real bucket, clock,
// hooks, journal and peers, and tells the machine what came of them; and it
// offers the operations that the HTTP API and the command line call. It
// decides nothing about roles: the machine does.
//
// # Below it
//
// Package datadir is what this instance remembers. Package control reads and writes the
// control objects, and reads the chain of backups and the audit log; package upkeep looks after what is in the bucket and in the cache;
// package membership keeps this instance's name and record; package application starts,
// stops and judges the application. None knows the agent: it gives their parts what they
// need (openUpkeep, openApplication, known).
//
// # Goroutines
//
// One goroutine, the loop in Run, owns the machine and the journal file.
// Effects run in goroutines of their own and hand their Done back to the loop.
// Two more keep this instance's record in the bucket (keepRegistered) and the
// table of the other instances. Everything else reads a snapshot that the loop
// leaves after every step.
//
// # Identity
//
// Until the bucket has been found to be the right one, to honour conditions,
// and to know no other holder of this instance's name, the machine sees a
// bucket that does not answer.
package agent
