package ha

import "github.com/understudy-ha/understudy/backup"

// A backup that was made waits for an object to name it: the head, or the record of
// a salvage backup. It waits for as long as the bucket cannot be used, and over a
// crash. Meanwhile the bucket may be put back to before that backup, and show the very
// head that this instance knows. So whatever has waited is looked for in the bucket
// before anything names it, and made again if it is not there.

// made notes that this process knows, as of now, that the bucket has what it made.
func (cl *controlLane) made() { cl.foundAt = cl.t }

// notMade notes that this process has made nothing of what is to be named.
func (cl *controlLane) notMade() { cl.foundAt = never }

// looksFor reports whether a backup that is about to be named has to be looked
// for first, and looks for it. So it has when it was not made, or found, since the
// time of one poll: by the time of the answer this process may have stood still.
func (cl *controlLane) looksFor(ref *backup.Ref, lost func()) bool {
	if ref == nil || cl.foundAt != never && cl.t-cl.foundAt <= cl.p.Poll {
		return false
	}
	asked := cl.t
	id := cl.ask(func(d Done) {
		switch d.Outcome {
		case OK:
			cl.succeeded()
			cl.foundAt = asked
		case Missing:
			cl.succeeded()
			cl.report(Alarm, "bucket", "backup %s was made, and is no longer in the bucket, which was put back or lost it: it is made again", ref.ID)
			lost()
		default:
			cl.failed(d.Err)
		}
	})
	cl.emit(FindBackup{ID: id, Ref: *ref})
	return true
}
