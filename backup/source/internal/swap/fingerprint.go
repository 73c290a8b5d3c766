package swap

import (
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Fingerprint describes files and folders in a folder by what changes when somebody writes to
// them or puts others in their place. Empty when the first one is missing.
func Fingerprint(in *fsx.Dir, names ...string) (string, error) {
	if in == nil {
		return "", nil
	}
	var b strings.Builder
	for i, name := range names {
		st, err := in.Stat(name)
		if err != nil {
			return "", err
		}
		if st.Mode == 0 && i == 0 {
			return "", nil
		}
		fmt.Fprintf(&b, "%s %d %d %d.%09d %d.%09d\n", in.Path(name), st.Ino, st.Size,
			st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
	}
	return b.String(), nil
}
