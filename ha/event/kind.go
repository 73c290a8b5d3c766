package event

import "slices"

// Kind is a kind of events, and what they are about.
type Kind struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Kinds are the kinds of events that there are.
var Kinds = []Kind{
	{"access", "who signed in, and who was not let in"},
	{"agent", "the agent itself: started, stops"},
	{"application", "the application: started, stopped, down"},
	{"backup", "backups: published, failed, overdue, warnings"},
	{"bucket", "the bucket: cannot be used, can be used again"},
	{"cache", "the cache of backups"},
	{"config", "the shared configuration: what was changed from what to what, and is in force"},
	{"demotion", "stepping down, and what was salvaged"},
	{"disk", "room in the data folder"},
	{"discard", "deleting what a swap replaced"},
	{"federation", "the file by which a standby's Prometheus follows the active's"},
	{"fencing", "an application that runs on an operator's word"},
	{"handover", "handing over to a successor"},
	{"head", "the head cannot be used"},
	{"identity", "whose this instance's name and data folder are"},
	{"instances", "other instances and their records"},
	{"journal", "the journal cannot be written, can be written again"},
	{"key", "the shared key and its rotation"},
	{"lease", "the promotion lease"},
	{"notification", "waking up peers"},
	{"object", "manifests and control objects that are damaged in the bucket, or missing from it"},
	{"packs", "packs that are missing from the bucket, and what became of them"},
	{"promotion", "each step of a promotion of this instance"},
	{"pull", "backups that were cached, or could not be"},
	{"record", "this instance's own record"},
	{"recovery", "the cluster goes on from a bucket that was put back"},
	{"rehearsal", "backups that were restored ahead of time, or could not be"},
	{"refusal", "requests that were refused"},
	{"reload", "the YAML file was read again"},
	{"retention", "what expires, and what must not"},
	{"role", "this instance is confirmed as the active"},
	{"rollback", "putting back what a swap replaced"},
	{"salvage", "a salvage backup that failed"},
	{"schedule", "the schedule of backups: paused, resumed"},
	{"source", "sources that are not what they were, and what an operator confirmed of them"},
	{"state", "backups whose content is doubtful, or whose original is damaged"},
	{"streams", "logs that are shipped as they are written, and the replicas that follow them"},
	{"version", "the application's version is not known"},
	{"webhook", "webhooks: changed, failing, delivering again"},
}

// KnownKind reports whether there are events of this kind.
func KnownKind(name string) bool {
	return slices.ContainsFunc(Kinds, func(k Kind) bool { return k.Name == name })
}

// KnownLevel reports whether l is one of the levels.
func KnownLevel(l Level) bool { return slices.Contains([]Level{Info, Warn, Alarm}, l) }
