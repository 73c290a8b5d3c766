package report

import "slices"

// Topic is an entry of docs/runbook.md, by its anchor there: it says what a finding
// means, and what to do.
type Topic string

// Finding is one thing that there is to say of an instance and its cluster.
type Finding struct {
	Text  string `json:"text"`
	Topic Topic  `json:"topic" doc:"an anchor of the runbook, which the console serves as console/help/runbook"`
	Wrong bool   `json:"wrong" doc:"it is among the problems; otherwise among the caveats"`
}

// Topics are what findings are about, the most urgent first.
var Topics = []Topic{
	topicJournal, topicDisk, topicRefused, topicPutBack, topicApplication, topicRunsAnyway, topicOverride, topicBucket, topicSilent, topicUnderWay,
	topicBackup, topicChanged, topicDoubtful, topicRetention, topicPacks, topicObjects, topicBlocked, topicRehearsal, topicPull, topicStream, topicKept, topicSync, topicBase, topicPaused, topicCache,
	topicUnreachable, topicOther, topicRecords, topicUnstoppable, topicLost, topicNoStandby, topicNoBackup, topicPause, topicReload, topicFederation,
	topicLacks, topicUnrehearsed, topicCatchingUp, topicLeftOver, topicOutlook,
}

const (
	topicJournal     Topic = "journal"
	topicDisk        Topic = "disk"
	topicRefused     Topic = "refused"
	topicPutBack     Topic = "a-bucket-that-was-put-back"
	topicApplication Topic = "application"
	topicRunsAnyway  Topic = "runs-anyway"
	topicOverride    Topic = "without-the-bucket"
	topicBucket      Topic = "bucket"
	topicSilent      Topic = "no-sign-of-life"
	topicUnderWay    Topic = "under-way"
	topicBackup      Topic = "backup-failed"
	topicChanged     Topic = "a-source-that-has-changed-too-much"
	topicDoubtful    Topic = "doubtful"
	topicRetention   Topic = "retention"
	topicPacks       Topic = "when-packs-are-missing-from-the-bucket"
	topicObjects     Topic = "when-small-objects-are-damaged-or-missing"
	topicBlocked     Topic = "cannot-take-over"
	topicRehearsal   Topic = "rehearsal-failed"
	topicPull        Topic = "pull-failed"
	topicStream      Topic = "a-stream-does-not-go-on"
	topicKept        Topic = "log-that-is-kept"
	topicSync        Topic = "commits-do-not-wait"
	topicBase        Topic = "base-overdue"
	topicPaused      Topic = "replica-paused"
	topicCache       Topic = "when-a-cache-rots"
	topicUnreachable Topic = "unreachable"
	topicOther       Topic = "another-instance"
	topicRecords     Topic = "records-not-read"
	topicUnstoppable Topic = "nobody-can-stop-it"
	topicLost        Topic = "what-was-lost"
	topicNoStandby   Topic = "no-standby"
	topicNoBackup    Topic = "no-backup"
	topicPause       Topic = "pausing-the-schedule"
	topicReload      Topic = "configuration-file"
	topicFederation  Topic = "federation"
	topicLacks       Topic = "backup-lacks-something"
	topicUnrehearsed Topic = "not-rehearsed"
	topicCatchingUp  Topic = "catching-up"
	topicLeftOver    Topic = "left-over"
	topicOutlook     Topic = "status"
)

// topicOfTrouble is the topic of a trouble, by the kind of its events.
func topicOfTrouble(kind string) Topic {
	if t, found := troubleTopics[kind]; found {
		return t
	}
	return topicOutlook
}

var troubleTopics = map[string]Topic{
	"journal": topicJournal, "disk": topicDisk, "application": topicRunsAnyway, "identity": topicRefused, "recovery": topicPutBack,
	"source": topicChanged, "state": topicDoubtful, "retention": topicRetention, "packs": topicPacks, "object": topicObjects, "config": topicObjects,
	"cache": topicCache, "rehearsal": topicRehearsal, "discard": topicLeftOver, "fencing": topicUnstoppable, "streams": topicStream,
}

// sorted puts findings in the order in which they are to be looked at.
func sorted(all []Finding) []Finding {
	slices.SortStableFunc(all, func(x, y Finding) int {
		if x.Wrong != y.Wrong {
			if x.Wrong {
				return -1
			}
			return 1
		}
		return slices.Index(Topics, x.Topic) - slices.Index(Topics, y.Topic)
	})
	return all
}
