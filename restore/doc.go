// Package restore brings backups back: it pulls them into a local cache,
// verifies them, stages them beside the live state, and swaps them into place
// under a journal.
//
// # Cache
//
// A [Cache] is a folder:
//
//	backups/<id>/manifest.json   the signed manifest, byte for byte as in the bucket
//	backups/<id>/ref.json        its backup.Ref, and the digest of packs; locked (shared) while the backup is held
//	backups/<id>/packs           the packs that it needs: "<digest> <size>" a line
//	packs/<aa>/<digest>          packs, as in the bucket
//	partial/                     what is not finished
//	scrub.json                   how far the scrub has come (Scrubbed)
//	lock                         held by whoever changes the cache
//
// Packs get their place one by one, each verified and synced; the folder of a
// backup gets its place whole, when all its packs have. So whatever lies under
// backups can be restored, and an interrupted pull goes on where it stopped.
//
// Disks rot. Readers take a pack that is missing or damaged in the cache from
// the bucket, and replace it ([Mending]); [Cache.Scrub] reads the whole cache in
// rotation, a little at a time.
//
// # Swap
//
// A [Swapper] moves all sources of a backup together:
//
//	        Stage             Swap                Finish
//	(none) ──────▶ staging ─▶ staged ─▶ swapping ─▶ swapped ─▶ finishing ─▶ (none)
//	   ▲              │        │  ▲        │           │
//	   ├── Rollback ──┘        │  └─┐      └─ Rollback ┴─▶ restoring ─▶ (none)
//	   └── Drop ───────────────┘    └ Rollback, or Stage of another backup
//
// Each arrow out of a state is written to the journal, durably, before the
// first source is touched, and each arrow into one after the last source is
// done. Every source's own steps are idempotent. So after a crash Rollback
// (before finishing) or Finish (from swapped) ends with every source old or
// every source new.
//
// Where the journal is lost, or an older one, the sources themselves tell how far
// they have come (source.Reach). Stage touches nothing then. Resolution says how
// such a swap can end without a loss, and Resolve ends it.
//
// What is no longer needed is set aside, under a name that nothing else uses,
// and deleted by Sweep. So nothing waits for a deletion, and something that cannot
// be deleted is in nobody's way.
//
// # Stage
//
// Where a source can compare its stage entry by entry (source.Inspector), that is
// done before the stage is brought forward, and before it counts as ready for a
// promotion. What is damaged is restored again. Where a source can read its stage
// (source.Rereader), Reread compares the content with the backup, a little at a
// time; reread.json holds how far it has come, and aside.json where something was
// ever set aside.
//
// Of a stage that is whole the journal holds which backup it is (id and
// digest of its manifest), which entry each source's stage was made from, and
// the source's fingerprint, which changes when somebody writes to the stage as far as
// that is cheap to see. A stage whose fingerprint does not hold is built anew and never
// swapped. While a stage is brought forward from one backup to another, each
// source's part counts from the moment that its new fingerprint is in the journal; what
// a failure leaves whole is the earlier backup's stage (Staged) or parts of one
// (Idle), which the next Stage goes on from. So is what a former active's Rejoin leaves.
package restore
