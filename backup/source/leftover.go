package source

// Leftover is state that was set aside and cannot be deleted.
type Leftover struct {
	Path   string // or a database's name
	Bytes  int64  // that it takes on disk; negative: not known
	Reason string
}
