package discover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/backup/outlet"
)

// runTime bounds a program that is asked.
const runTime = 10 * time.Second

// RunHere runs a program on this host. As another user it runs where this one may.
func RunHere(ctx context.Context, as string, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Dir = "/"
	stdout, stderr := &outlet.Head{Max: maxPrinted}, &outlet.Tail{Max: 1 << 10}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if who, err := user.Lookup(as); as != "" && err == nil && os.Geteuid() == 0 {
		uid, uidErr := strconv.ParseUint(who.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(who.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("read ids of user %s: %w", as, err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	err := cmd.Run()
	if text := strings.TrimSpace(stderr.String()); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(text, "\n", " "))
	}
	return stdout.Bytes(), err
}

// maxPrinted bounds what is read of a program.
const maxPrinted = 1 << 20
