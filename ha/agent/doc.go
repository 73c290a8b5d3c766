// Package agent runs the protocol of package ha on one instance. It carries
// out the effects that the machine asks for, against the real bucket, clock,
// hooks, journal and peers, and tells the machine what came of them; and it
// offers the operations that the HTTP API and the command line call. It
// decides nothing about roles: the machine does.
//
// # Below it
//
//	datadir      what this instance remembers on its disk
//	control      the control objects, the chain of backups, the audit log
//	membership   this instance's name and record
//	upkeep       what is in the bucket and in the cache
//	runner       runs the machine, and makes its journal durable
//	application  starts, stops and judges the application
//	sources      where the sources lie, and whether they are what they were
//	staging      what is staged, rehearsed, and swapped in
//	shipping     ships the logs of an active's sources to the bucket
//	following    has a standby's stages go on by them
//	catalogue    which backups there are
//	report       what an instance says of itself, and whether it is well
//	watch        what people are to be told of this host and its cluster
//	work         makes backups, and brings them into the cache
//	requests     how somebody asks the machine for something, and waits
//	shared       the shared configuration, and what the others say of themselves
//	peers        how instances talk to each other without the bucket
//	promotions   what a promotion would need and lose, and how one is asked for
//	federation   whom the Prometheus of this host follows
//	putback      the way out of a bucket that was put back
//
// None knows the agent: it gives their parts what they need (open.go).
//
// # Goroutines
//
// One goroutine, that of the runner, owns the machine and the journal file.
// Effects run in goroutines of their own and hand their Done back to it.
// Two more keep this instance's record in the bucket (recorder) and the
// table of the other instances. Everything else reads the state that the
// runner leaves after every step.
//
// # Identity
//
// Until the bucket has been found to be the right one, to honour conditions,
// and to know no other holder of this instance's name, the machine sees a
// bucket that does not answer.
package agent
