package ha

// Position is the version that a head is.
func (h *Head) Position() Position { return Position{h.Epoch, h.Rev, h.Nonce} }

// IsOlder reports whether a head is older than a version that was seen, or another
// one than that: the bucket was put back to an earlier state, or it is another.
func (h *Head) IsOlder(seen Position) bool {
	pos := h.Position()
	return pos.before(seen) || !seen.before(pos) && seen.Nonce != pos.Nonce
}

// IsNewer reports whether a head comes after another one.
func (h *Head) IsNewer(other *Head) bool { return other.Position().before(h.Position()) }

// OlderText says that a bucket shows a head that is older than one already seen.
func OlderText(h *Head, seen Position) string {
	return "the head was rolled back: the bucket shows an older version (epoch " + utoa(h.Epoch) + ", rev " + utoa(h.Rev) +
		") than this instance has seen (epoch " + utoa(seen.Epoch) + ", rev " + utoa(seen.Rev) + "); the bucket was put back to an earlier state, or is another one: understudy recover-bucket shows what it lacks, and has the cluster go on from it"
}
