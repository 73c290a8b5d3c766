// Package retention decides how long what is in a bucket stays.
//
// A Policy says how long a backup is restorable (R), and how old a pack may be
// that a new backup refers to (W, the reuse window). All else follows from the
// two: a manifest expires after R, a pack after R, W and a day. So no pack goes
// while a manifest that refers to the pack is there. A part of a stream expires after a
// time of its own (stream.Life): a backup has its log long before.
//
// The bucket deletes by itself where it has lifecycle rules (Policy.Rules).
// Elsewhere the active deletes what Expired lists. Rules of other people may
// delete sooner; Policy.Under says what is left then.
//
// Ages are in the store's time: this host's clock may be wrong.
package retention
