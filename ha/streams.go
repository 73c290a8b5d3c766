package ha

import "github.com/understudy-ha/understudy/backup/stream"

// streamsLane is the streams of an active: which sources have one, and what was shipped.
type streamsLane struct {
	*core

	sources []string                   // whose logs are shipped
	tips    map[string]Shipped         // the newest part known of each
	ready   map[string]stream.Position // where a new stream of a source can begin
}

func (sl *streamsLane) use(ev UseStreams) { sl.sources = ev.Sources }

func (sl *streamsLane) isReady(ev StreamReady) { sl.ready[ev.Source] = ev.From }

func (sl *streamsLane) shipped(ev Shipped) { sl.tips[ev.Source] = ev }
