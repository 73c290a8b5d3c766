// Package ha is the protocol: who is active, how a standby is promoted, how an
// active steps down. It is a deterministic, single-threaded step function
// without I/O (Machine); package agent carries out what it asks for, package
// sim runs it against a simulated world.
//
// # Words
//
// An instance is one agent beside one copy of the application. The head (one
// object in the bucket) names the active instance, its epoch and the newest
// backup. The epoch is the fencing token: it grows by one with every
// promotion. The lease is the lock that a promotion takes; the marker tells
// the old active what happened. Every write of the head and the lease carries
// a fresh nonce; every process of an instance has a random incarnation.
//
// # The head decides
//
// The head is only ever compared and swapped, by an instance that knows the
// version that it replaces:
//
//   - The active renews it every poll. That write is at once its heartbeat, the
//     publication of backups, and the check that it is still the active.
//   - A promotion commits by swapping it to the next epoch. Nothing before that
//     touches the old active; nothing after that is undone.
//   - A process that starts as the active claims it first, and only if its
//     nonce is one that the instance's journal knows. Whoever finds a head that
//     it did not write (a clone, a restored virtual machine, a second host
//     under one name) stops the application, keeps its state as a salvage backup
//     and refuses to be active.
//
// A write whose outcome is unknown is resolved before anything else: while the
// version that it replaces is still there it may yet land, so another attempt
// is written against it; once it has been replaced, the nonce decides. Every
// attempt is journalled before it is sent, so a restart resolves it too.
//
// # States
//
//	                     promote: lease                          commit: head → epoch+1
//	┌─────────┐ ─────────▶ ┌──────────────────────────────────────┐ ─────────▶ ┌────────┐
//	│         │            │ lease → pin ─┬─────────▶ restore      │            │ finish │
//	│ standby │            │              └ handover ┘   │ swap    │            └───┬────┘
//	│         │            │                             ▼ commit  │   marker, ack, │
//	└─────────┘ ◀───────── └──────────────────────────────────────┘   start, release│
//	   ▲   ▲     rollback: swap back, release                                       ▼
//	   │   │                                                                   ┌────────┐
//	   │   └──────────── stop → acknowledge → salvage ◀────────────────────────│ active │
//	   │                            superseded: a head of a later epoch        └────────┘
//	   │                                                                         │    ▲
//	   │                       stopping → final backup → handed over ◀───────────┘    │
//	   └──────────────────────────── superseded │ └──── taken back: lease released ───┘
//	                                                    or unchanged for TTL + margin
//
// # Rehearsal
//
// A standby with nothing else to see to restores the newest cached backup
// beside its live state, verified, and has it judged. A promotion cancels a
// rehearsal that is under way, and its restore takes a stage that is whole, of
// the chosen backup, and has passed as it is. A backup whose rehearsal failed is
// not promoted to without an operator's word. What the swap replaced is dropped
// once the application was started: nothing whose time depends on the size of the
// state comes before that. A former active that has stepped down tries once to stage what
// it has of its own (rejoin.go): of a source whose log its successor goes on from, no
// backup has to be restored then.
//
// # Streams
//
// A source's log can be shipped as it is written, in streams (package stream). The head
// names those that are in force; nothing is shipped in another one. Every promotion ends
// each of them, by an end part behind whatever was shipped (ending.go): after the
// handover, before the restore. So whatever the old active knows, it appends nothing
// more. The restore applies the log up to the ends, unless an older backup was chosen;
// the commit is pinned to the complete set of streams, and names the ends. Before a
// switchover stops anything, the servers of sources write what they hold (checkpoint.go),
// and the candidate has the newest backup (handover.go). In a handover the active closes the
// streams itself, after its final backup. One whose promotion was given up stays ended: the
// active opens the next one once nobody holds the lease (streams.go). What is in the bucket
// is confirmed to a source for as long as the head was confirmed within its TTL: names do not
// come back, but their parts expire.
//
// # Whom a failover waits for
//
// A commit does not stop the old active's application: the new one's is started
// once that has stopped (await.go). There is nothing to wait for when the version
// of the head that the commit replaces says that nothing runs: it was handed over,
// or the old active's agent has ended with its application (farewell.go). Neither
// starts an application again before it has replaced that very version, which the
// commit has done first.
//
// # Time
//
// No decision compares two machines' clocks. A lease or a head is stale when
// this instance saw it unchanged for its TTL plus the margin on its own time
// line, which advances by whichever of the monotonic and the boot-time clock
// advanced more, so that suspend counts. The rule is that of Kubernetes leader
// election; the words lease and fencing token are those of Gray and Cheriton
// (1989) and of Kleppmann's "How to do distributed locking" (2016).
//
// # Lanes
//
// A Machine is composed of lanes (machine.go). Each lane knows one thing: the head
// (head.go), the lease (lease.go), the application (app.go), a promotion
// (promotion.go), and so on. A lane's state is its own: other lanes ask it by methods,
// and its struct names the lanes that it asks. What all of them have in common is the
// core (core.go): the clock, the journal, and the effects that are asked for.
//
// A Machine has at most one request to the store under way (control.go), one
// piece of long work (work.go), one pull (pull.go) and one hook (app.go). Of work only
// a rehearsal and a rejoin go on beside a pull: they may take longer than backups are
// apart, and the cache must not fall behind for that. After each event every idle lane
// picks what is due next (plan.go). What must survive a crash is in the
// Journal, which is saved before the effect that depends on it. Each Save, and each
// Write, says what it is for (step.go).
package ha
