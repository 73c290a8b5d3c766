package source

import "errors"

// ErrUnfinished is the answer to a stage while an earlier swap is neither
// finished nor rolled back.
var ErrUnfinished = errors.New("an earlier swap was neither finished nor rolled back: do that first")
