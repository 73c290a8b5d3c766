package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/conformance"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// examineStore finds out whether the store keeps its promises, what this host
// may do there, and how fast it is. The first finding sums the promises up.
func (e *Examiner) examineStore(ctx context.Context, store blobstore.Store) []Finding {
	steps := steps{e.Steps}
	report, err := conformance.Full(ctx, conformance.Config{Store: store, Random: rand.Reader, Now: time.Now, Began: steps.begin})
	if err == nil {
		steps.begin("object lock")
		if lock, has := conformance.Lock(ctx, conformance.Config{Store: store, Random: rand.Reader}); has {
			report = append(report, lock)
		}
	}
	steps.end()
	if err != nil {
		return []Finding{is("bucket", err, "")}
	}
	found := []Finding{SumUp(report)}
	for _, c := range report {
		found = append(found, Finding{
			Name: c.Name, Result: Result(c.Outcome), Detail: c.Detail, Promise: c.Promise, Values: c.Values,
			broken: c.Broken(),
		})
	}
	return found
}

// SumUp says in one finding whether the store may be used.
func SumUp(report conformance.Report) Finding {
	if broken := report.Broken(); len(broken) > 0 {
		return Finding{Name: "bucket", Result: Bad, Detail: "the store must not be used: it breaks " + strings.Join(broken, ", ")}
	}
	f := is("bucket", report.Err(), "the store keeps every promise that promotions rest on")
	if e := (*blobstore.Error)(nil); errors.As(report.Err(), &e) && e.Err != nil && !strings.Contains(f.Detail, e.Err.Error()) {
		f.Detail += ": " + e.Err.Error() // what the store itself said
	}
	return f
}

// networkShares are the file systems that other hosts share, by the number that
// the kernel gives them.
var networkShares = map[uint32]string{
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CEPH_SUPER_MAGIC: "Ceph", unix.AFS_SUPER_MAGIC: "AFS", unix.V9FS_MAGIC: "9P", unix.FUSE_SUPER_MAGIC: "FUSE",
}

// examineFolder warns about a bucket that is a folder on a network share: an
// examination from one host cannot prove that two keep a rename and a lock in order.
func examineFolder(bucket string) []Finding {
	u, err := url.Parse(bucket)
	if err != nil || u.Scheme != "file" {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(u.Path, &fs); err != nil {
		return []Finding{is("folder", fmt.Errorf("look at %s: %w", u.Path, err), "")}
	}
	if share, is := networkShares[uint32(fs.Type)]; is {
		return []Finding{{Name: "folder", Result: Warning, Detail: fmt.Sprintf("%s is on a network share (%s): safe for one host alone, since few shares keep a rename and a lock in order between hosts", u.Path, share)}}
	}
	return []Finding{is("folder", nil, u.Path+" is on a file system of this host: no other host sees it")}
}

// steps shows on a terminal what is being done, and nothing elsewhere.
type steps struct {
	out io.Writer // nil: nothing is shown
}

func (s steps) begin(step string) {
	if s.out != nil {
		fmt.Fprintf(s.out, "%sexamining the bucket: %s …", terminal.ClearLine, step)
	}
}

func (s steps) end() {
	if s.out != nil {
		fmt.Fprint(s.out, terminal.ClearLine)
	}
}
