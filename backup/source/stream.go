package source

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
)

// ErrGap says that a source's log from a position on is not there any more: what was to
// go on there begins anew, with a whole copy.
var ErrGap = errors.New("the log from there on is not there any more")

// ErrDiverged says that a stage has log of which a stream has another one: nothing can go on
// from it.
var ErrDiverged = errors.New("it has applied log that the source does not go on from")

// Streamer is a Source whose log can be shipped as it is written.
type Streamer interface {
	// OpenLog opens the log at a position, or, where from is nil, where a new stream
	// of it begins. ErrGap where the log from there on is gone.
	OpenLog(ctx context.Context, from *stream.Position) (Log, error)
}

// Log is a source's log as it is written. One goroutine uses it, but for Confirm. Its
// pieces, put together, are the same bytes wherever they were cut.
type Log interface {
	// Begin is where the log was opened, which may be earlier than was asked, and what a
	// Follower must know of it.
	Begin() (stream.Position, json.RawMessage)
	// Next waits until there is more log, and returns it with the position behind it:
	// at most stream.MaxLog bytes, which are valid until the next call.
	Next(ctx context.Context) (log []byte, to stream.Position, err error)
	// Confirm tells the source that everything before p is in the bucket.
	Confirm(p stream.Position) error
	Close() error
}

// Synced is a Streamer whose commits can wait until they are in the bucket.
type Synced interface {
	Streamer
	// Sync says whether they shall, and for how long they wait at most for a bucket that
	// does not answer where an active may go on without it; 0: without end.
	Sync() (wanted bool, patience time.Duration)
	// Arm has commits wait, from now on, for what Log.Confirm confirms. It is idempotent.
	Arm(ctx context.Context) error
	// Disarm has them wait no longer, whichever process had them wait. It reports whether
	// they did until then. It is idempotent.
	Disarm(ctx context.Context) (did bool, err error)
}

// Follower is a Restorer whose stage goes on by the log of a stream.
type Follower interface {
	// Followed is where the stage's log goes on, durably, in a stream that begins so; with
	// begin nil it is where the log ends. A stream may leave the log before its end, with
	// a timeline of its own: then it is there, unless the stage has applied more. false:
	// nothing is staged that could go on.
	Followed(ctx context.Context, begin json.RawMessage) (stream.Position, bool, error)
	// Feed appends log from that position on, which is durable when Feed returns. begin
	// is that of the stream that the log is of.
	Feed(ctx context.Context, begin json.RawMessage, from stream.Position, log []byte) error
	// CatchUp waits until what was fed up to a position is applied as far as it can be,
	// and closes the stage for the swap.
	CatchUp(ctx context.Context, to stream.Position) error
	// Applied is how far the stage has come, for people. A stage that had paused is told to
	// go on.
	Applied(ctx context.Context) (Applied, error)
}

// Rejoiner is a Follower whose stage can be made of what lies at the source's own place: that
// of a former active, whose successor's log goes on from it.
type Rejoiner interface {
	Follower
	// Rejoin makes the stage a copy of it, from which the log goes on; the place stays as it
	// is. e is of a backup that the successor has gone on from, and end is where it has left
	// the log. ErrNoRejoin, with the reason, where what lies there was not stopped in order,
	// does not hold the log of e, or goes on beyond end. What lies there is compared with no
	// backup: the context's Examination says so.
	Rejoin(ctx context.Context, e Entry, end stream.Position) error
}

// ErrNoRejoin means that a former active cannot follow as it is: its stage is made of a backup.
var ErrNoRejoin = errors.New("it does not follow as it is")

// Applied is how far a stage has applied its log.
type Applied struct {
	To     stream.Position
	Paused bool // it did not go on by itself
}

// LogKeeper is a Streamer whose server keeps log for the agent.
type LogKeeper interface {
	Streamer
	// Kept asks the server how it does. newest is the source's entry in the newest backup;
	// nil: that is not known.
	Kept(ctx context.Context, newest *Entry) (Kept, error)
}

// Kept is what a server says, when it is asked, of its log and of the agent's part in it.
// It is for people.
type Kept struct {
	// Bytes is the log that it keeps until that is confirmed, and in a backup. Room is how
	// much more it can write until it deletes some of that, or its disk is full.
	Bytes, Room int64
	// Lost says that it has deleted some of it, or is about to.
	Lost bool
	// Synced says that commits are to wait until they are in the bucket, Waits that they do.
	Synced, Waits bool
	// BaseDue is when the newest backup's base should be replaced; zero: not known. Unpacked
	// is how much log comes after that backup; negative: not known.
	BaseDue  time.Time
	Unpacked int64
}

// Served is a Source that is a program of its own, which runs with the application.
type Served interface {
	// Start makes it run and take writes, in an epoch. It is idempotent.
	Start(ctx context.Context, epoch uint64) error
	// Stop stops it, with everything written. It is idempotent.
	Stop(ctx context.Context) error
}

// Checkpointer is a Served or a Follower whose servers can be told to write to their disks what
// they hold, so that they stop soon: the one at its place, or the one on its stage, whichever
// runs.
type Checkpointer interface {
	Checkpoint(ctx context.Context) error
}

// LogPosition is where the log goes on of which a dump holds all before; false where
// the kind has none.
func LogPosition(e Entry) (stream.Position, bool) {
	if position := kinds[e.Kind].LogPosition; position != nil {
		return position(e)
	}
	return 0, false
}

type coveredKey struct{}

// WithCovered returns a context for the dump of a host that was replaced: positions, by
// source, up to which whoever replaced it has the logs. What is not beyond it is not
// dumped again.
func WithCovered(ctx context.Context, positions map[string]stream.Position) context.Context {
	return context.WithValue(ctx, coveredKey{}, positions)
}

// Covered is up to where somebody else has a source's log; false where nobody has said so.
func Covered(ctx context.Context, source string) (stream.Position, bool) {
	positions, _ := ctx.Value(coveredKey{}).(map[string]stream.Position)
	p, ok := positions[source]
	return p, ok
}

// Leaver is a source that has left something in its application: Leave takes it out, and may
// be repeated. It is for an instance that leaves its cluster, whose agent does not run.
type Leaver interface {
	Leave(ctx context.Context) error
}
