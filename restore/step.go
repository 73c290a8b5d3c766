package restore

// Steps are the durable steps of a Cache and a Swapper. Where their field Step
// is set it is told "<name>.before" just before a step begins and
// "<name>.after" once it is durable, unless it failed: whatever a crash can
// part is a step of its own. They are told from several goroutines.
var Steps = []string{
	"cache.pack",   // a verified and synced pack gets its place
	"cache.sync",   // the places of packs become durable
	"cache.record", // manifest, reference and list of packs are written
	"cache.place",  // a backup counts as cached
	"cache.drop",   // a backup no longer counts as cached
	"cache.sweep",  // the packs that nothing needs are removed

	"swapper.staging", "swapper.staged", // the journal of the swap says so
	"swapper.swapping", "swapper.swapped",
	"swapper.restoring", "swapper.finishing",
	"swapper.idle", // the journal is removed

	"source.stage",     // one source is staged
	"source.swap",      // its stage is in place, and what was there is kept
	"source.swap-back", // what was there is in place again, the stage is set aside
	"source.discard",   // what was replaced is set aside
}

// announced tells of a step before, and once it is done.
func announced(tell func(point string), step string, do func() error) error {
	if tell == nil {
		return do()
	}
	tell(step + ".before")
	err := do()
	if err == nil {
		tell(step + ".after")
	}
	return err
}
