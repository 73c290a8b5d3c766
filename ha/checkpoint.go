package ha

import "time"

// checkpointLane has the servers of sources write to their disks what they hold, before a
// switchover stops them: a stop that has to write it has the application wait.
type checkpointLane struct {
	*core
	streams *streamsLane

	under uint64
	until instant // it is waited for
}

// checkpointMost is for how long a switchover waits for that. The application runs meanwhile.
const checkpointMost = 20 * time.Second

// begin has it begin.
func (cl *checkpointLane) begin() {
	if !cl.streams.hasSources() {
		return
	}
	cl.until = cl.t + checkpointMost
	if cl.under == 0 { // else that of a switchover which was given up is still under way
		cl.under = cl.expect(func(Done) { cl.under = 0 })
		cl.emit(Checkpoint{ID: cl.under, Most: checkpointMost})
	}
}

// underWay reports whether it is to be waited for.
func (cl *checkpointLane) underWay() bool { return cl.under != 0 && !cl.due(cl.until) }
