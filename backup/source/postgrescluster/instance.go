package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// instance is a server of the agent's own, on a data folder that no other server works in.
// It listens on no address, and on a Unix socket that only the owner of the folder and
// root reach. It knows nothing of the host's configuration of PostgreSQL, which may lie
// anywhere and say anything.
type instance struct {
	bin  string // where its programs are
	data *fsx.Dir
	run  *fsx.Dir // with its configuration, and its socket
	who  owner
	cmd  *exec.Cmd
	said *outlet.Tail
	done chan struct{}
	err  error // once done
}

// Names in the folder of the socket.
const (
	hbaFile   = "pg_hba.conf"
	identFile = "pg_ident.conf"
	confFile  = "postgresql.conf"
	port      = "5432"
)

// runName is the name, beside the data folder, of the folder of the socket.
const runName = "run"

// makeRun makes the folder of the socket anew.
func makeRun(ctx context.Context, at fsx.Place, who owner) (*fsx.Dir, error) {
	if err := removeRun(ctx, at); err != nil {
		return nil, err
	}
	d, err := at.Dir.Make(swap.Beside(at.Name, runName))
	if err != nil {
		return nil, err
	}
	if err := fillRun(d, who); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// removeRun removes the folder of the socket.
func removeRun(ctx context.Context, at fsx.Place) error {
	return fsx.RemoveAll(ctx, at.Dir, swap.Beside(at.Name, runName))
}

func fillRun(d *fsx.Dir, who owner) error {
	for file, text := range map[string]string{
		hbaFile: "local all all trust\n", identFile: "", confFile: "# This server is understudy's own.\n",
	} {
		err := d.Write(file, func(f *os.File) error {
			_, err := f.WriteString(text)
			return errors.Join(err, who.give(int(f.Fd())))
		})
		if err != nil {
			return err
		}
	}
	const private = 0o700
	return finishDir(d, private, who)
}

// The server gets its two folders open, and reaches them by these paths: in whatever folder
// of somebody else's they lie, it works in these very ones.
const (
	dataPath = "/proc/self/fd/3"
	runPath  = "/proc/self/fd/4"
)

// handOver are the two folders, for a program.
func handOver(cmd *exec.Cmd, folders ...*fsx.Dir) (release func(), err error) {
	release = func() {
		for _, f := range cmd.ExtraFiles {
			_ = f.Close() // the program has its own
		}
	}
	for _, d := range folders {
		fd, err := unix.FcntlInt(uintptr(d.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			release()
			return nil, fmt.Errorf("hold %s: %w", d.Path(), err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), d.Path()))
	}
	return release, nil
}

// own are the settings of every instance. They win over what is in the data folder.
func (i *instance) own() map[string]string {
	settings := map[string]string{
		"config_file": runPath + "/" + confFile, "hba_file": runPath + "/" + hbaFile, "ident_file": runPath + "/" + identFile,
		"unix_socket_directories": runPath, "external_pid_file": runPath + "/pid", "unix_socket_permissions": "0700", "port": port,
		"shared_buffers": "128MB", "huge_pages": "try", "dynamic_shared_memory_type": "posix",
		"log_destination": "stderr", "log_min_messages": "warning", "lc_messages": "C", "restart_after_crash": "off", "autovacuum": "off",
		"logging_collector": "off", "ssl": "off", "bonjour": "off", "archive_mode": "off", "hot_standby": "off", "jit": "off",
		"recovery_target_inclusive": "on", "recovery_target_action": "shutdown", "recovery_min_apply_delay": "0", "fsync": "on",
		"full_page_writes": "on", "wal_level": "replica", "max_wal_senders": "10",
	}
	for _, name := range []string{
		"listen_addresses", "unix_socket_group", "archive_command", "archive_library", "archive_cleanup_command",
		"recovery_end_command", "restore_command", "primary_conninfo", "primary_slot_name", "promote_trigger_file", "synchronous_standby_names",
		"recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid",
		"session_preload_libraries", "local_preload_libraries",
	} {
		settings[name] = ""
	}
	return settings
}

// start starts it with settings beyond its own.
func (i *instance) start(ctx context.Context, major int, settings map[string]string) error {
	all := i.own()
	const withoutTrigger = 16
	if major >= withoutTrigger {
		delete(all, "promote_trigger_file")
	}
	argv := []string{filepath.Join(i.bin, "postgres"), "-D", dataPath}
	// The last one counts. A target of the recovery can only be set once the others are not.
	for _, part := range []map[string]string{all, settings} {
		for _, name := range slices.Sorted(maps.Keys(part)) {
			argv = append(argv, "-c", name+"="+part[name])
		}
	}
	i.said = &outlet.Tail{Max: program.StderrKept}
	i.cmd = exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...) // stop ends it
	i.cmd.Dir, i.cmd.Env, i.cmd.Stderr = "/", program.Environ("LC_ALL=C"), i.said
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: i.who.credential()}
	release, err := handOver(i.cmd, i.data, i.run)
	if err != nil {
		return err
	}
	defer release()
	if err := i.cmd.Start(); err != nil {
		return fmt.Errorf("start a server on %s: %w", i.data.Path(), err)
	}
	i.done = make(chan struct{})
	go func() {
		defer close(i.done)
		i.err = i.cmd.Wait()
	}()
	return i.appear(ctx)
}

// appear waits until the server can be seen to work in its folder, or has ended: nobody
// else may start one meanwhile.
func (i *instance) appear(ctx context.Context) error {
	for {
		pid, err := runningIn(i.data)
		if err != nil || pid != 0 {
			return err
		}
		select {
		case <-i.done:
			return nil // whoever waits for it learns why
		case <-time.After(pause / 4):
		case <-ctx.Done():
			i.stop()
			return context.Cause(ctx)
		}
	}
}

// credential is as whom a server of the owner's runs; nil: as this process's user.
func (o owner) credential() *syscall.Credential {
	if unix.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
}

// wait waits until it has ended by itself. One that is not waited for any more is ended at once:
// whoever gives it up may make way for a promotion.
func (i *instance) wait(ctx context.Context) error {
	select {
	case <-i.done:
		return i.err
	case <-ctx.Done():
		_ = i.cmd.Process.Signal(unix.SIGQUIT) // it may have ended
		<-i.done
		return context.Cause(ctx)
	}
}

// failure is an error with what the server said.
func (i *instance) failure(what string, err error) error {
	if said := i.said.String(); said != "" {
		return fmt.Errorf("%s: %w: %s", what, err, said)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// stop stops it fast, with everything written, and waits.
func (i *instance) stop() {
	_ = i.cmd.Process.Signal(unix.SIGINT) // it may have ended
	<-i.done
}

// runningIn finds the server that works in a data folder; 0 for none.
func runningIn(data *fsx.Dir) (int, error) {
	f, err := data.Open("postmaster.pid", unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [32]byte
	n, _ := f.Read(b[:]) // an empty file names nobody
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return 0, nil
	}
	// The file outlives its server, and another process may have its number: a server
	// works in its data folder.
	cwd, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return 0, nil
	}
	st, err := data.Self()
	if err != nil {
		return 0, err
	}
	is, ok := cwd.Sys().(*syscall.Stat_t)
	if !ok || is.Ino != st.Ino || uint64(is.Dev) != uint64(st.Dev) {
		return 0, nil
	}
	return pid, nil
}

// pause is how often it is looked whether a server has ended.
const pause = 20 * time.Millisecond

// endIn stops the server that works in a data folder, if one does: one of the agent's own,
// which an earlier process has left.
func endIn(ctx context.Context, data *fsx.Dir) error {
	for sent := false; ; sent = true {
		pid, err := runningIn(data)
		if err != nil || pid == 0 {
			return err
		}
		if !sent {
			if err := unix.Kill(pid, unix.SIGINT); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stop the server (process %d) in %s: %w", pid, data.Path(), err)
			}
		}
		if err := rest(ctx); err != nil {
			return fmt.Errorf("wait for the server (process %d) in %s to end: %w", pid, data.Path(), err)
		}
	}
}

// rest waits for a pause.
func rest(ctx context.Context) error { return wait(ctx, pause) }

// wait waits, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
