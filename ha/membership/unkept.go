package membership

// UnkeptText is what is said to somebody whose host has something of its own.
func UnkeptText(unkept string) string {
	return "this host has a state of its own, which no backup is known to have: " + unkept + "; a promotion replaces it. Nothing to do if nobody needs it. Else have it kept as a salvage backup first: stop the agent, if it runs, join again with: understudy join --replace --salvage, and start it"
}
