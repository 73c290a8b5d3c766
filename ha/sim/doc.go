// Package sim runs the protocol core against a simulated world. The core is the
// real one (package ha), without a copy or a switch; what is simulated is
// everything that it is given and asks for: the store, clocks, journals,
// applications, backups and restores. A run is decided by its seed alone.
//
// # What goes wrong
//
// Requests to the store are refused (409, 503), lose their answer, answer after
// seconds, land minutes after their client gave up, or are told that they lost
// to themselves (412 after a retry on the way). Hosts are cut off from the store
// in one direction or both, and from one another; their agents crash before and
// after every effect, are stopped and continued; the hosts are suspended (the
// monotonic clock stands still, the boot-time clock goes on), rebooted, copied
// while they run, put back to an older snapshot of their disk, and ended in good
// order. The bucket is put back to an earlier state, and hosts are pointed at a
// replica that is behind. Somebody deletes control objects: the head, the lease,
// markers, acknowledgements, records. A cache answers a host's reads with older
// versions than the store has. The disk of a data folder hangs, or fails each write.
// Clocks drift by up to maxDrift, and wall clocks are anywhere. Hooks fail and hang,
// downloads are corrupted, a swap stops half-way, what it replaced cannot be set
// aside, for a while or for ever. Somebody starts the application on a standby.
// On some hosts nothing can stop the application but people.
// Operators promote, cancel, choose older backups, fail over, waive a salvage, start
// without the bucket, ask for backups and change the configuration whenever they
// like; one restores a head that was deleted. Each seed draws which of these happen
// and how often (Faults).
//
// In worlds with streams (Options.Streams) the application's log is shipped in parts by
// a simulated shipper, and ended and read by promoters, by the rules that package agent
// has to follow (shipper.go, ending.go). Requests for parts fare like others; sources lose
// the log before a new stream; names expire; somebody deletes parts, or puts others in
// place; the disk of an active loses what has been shipped (StreamFaults).
//
// # What must hold
//
// After every step (see Invariant for each): the history in the bucket, who may
// run an application, what a restore and a promotion give. At the end, when
// nothing goes wrong any more: the cluster comes to rest by itself within
// settleBound, every acknowledged write is in a backup, every fork has its
// marker unless somebody deleted it, and what the clients saw of head and lease is
// linearizable, but for what a cache has shown.
//
// # Replaying
//
// A violation names its seed:
//
//	go test ./ha/sim -run TestProtocolHoldsUnderFaults -sim.seed 4711 -v
//
// # The checker, checked
//
// Each guard of the protocol is taken away in turn, by wrapping what the core
// is given (Options.Wrap, Options.Clock): the simulator must notice. See
// mutation_test.go for the table.
package sim
