package demo

import "context"

// chapter is a part of the story: what happens, told to people, and what
// is promised of it.
type chapter struct {
	title, text string
	promises    []promise
}

// promise is done, and holds when that is no error.
type promise struct {
	text string
	host *host // whose log tells more when it does not hold
	do   func(ctx context.Context) (detail string, err error)
}

// script is the whole story.
func (s *story) script() []chapter {
	a, b, c := s.stage.a, s.stage.b, s.stage.c
	return []chapter{{
		"Three hosts, one bucket",
		`An application runs on host-a: a SQLite database and a folder of uploads,
written to without a pause. Now Understudy comes: a key, "understudy init" on
host-a, "understudy join" on host-b and host-c, and an agent on each.`,
		[]promise{
			{"host-a is the active of a new cluster", a, s.makeCluster},
			{"host-b and host-c join, and are in sync", b, s.joinCluster},
		},
	}, {
		"A backup",
		`"understudy backup" on host-a. The application holds its commits for the
moment of the snapshot; what is new goes to the bucket, encrypted and signed;
the standbys are told, so that they need not wait for their next poll. Each of
them rehearses it: restores it beside its own data, and verifies it.`,
		[]promise{
			{"a backup is made, and verified in both standbys' caches", a, s.backUp},
			{"the standbys were told of it", c, s.bothTold},
			{"both standbys have rehearsed it: a promotion only swaps it in", b, s.rehearsed},
			{"restored by hand, every row has its file, byte for byte", c, s.backupIsWhole},
		},
	}, {
		"Switchover: host-a needs maintenance",
		`"understudy promote" on host-b. host-a stops the application, makes a final
backup and hands over; host-b restores it, becomes the active, and starts the
application.`,
		[]promise{
			{"host-b takes over", b, s.switchOver},
			{"not one acknowledged commit is lost", b, s.nothingLost},
			{"host-a stopped its application, and is a standby in sync", a, s.steppedAside},
		},
	}, {
		"Failover: host-b dies",
		`One more backup; the application goes on writing; then "kill -9" for host-b's
agent and application at once. "understudy promote --failover" on host-c
waits a few seconds for host-b, in case it is alive, and takes over.`,
		[]promise{
			{"another backup is cached and rehearsed; the application writes on", b, s.writeOn},
			{"host-c takes over, by a swap", c, s.failOver},
			{"what came after the last backup is lost, and nothing else", c, s.lostWhatCameAfter},
		},
	}, {
		"host-b comes back",
		`Its agent starts, reads in the bucket that it was replaced, and does not start
the application. What the failover lost is still on its disk: that becomes a
salvage backup, before the new active's data takes its place.`,
		[]promise{
			{"host-b steps down before its application starts", b, s.stepDown},
			{"its salvage backup holds every commit that was lost", b, s.salvaged},
		},
	}, {
		"The cluster goes on",
		`host-c is the active now, with two standbys again.`,
		[]promise{
			{"a new backup is in the caches of host-a and host-b", c, s.followed},
			{"the application goes on writing, and its data is whole", c, s.wholeAgain},
		},
	}}
}
