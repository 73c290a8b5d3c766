// Package server starts real servers for tests: MinIO, fake-gcs-server, Azurite,
// PostgreSQL and Prometheus, each on a free port of 127.0.0.1, with its data in a
// temporary folder, stopped by process id when the test ends, and killed (by the
// kernel, Prometheus by a watchdog) should the test process die first. A Wire is
// the network to one of them, which can be disturbed.
//
// A DockerEngine is an engine in namespaces of its own, and a Root what its images
// are made of: programs of this machine, with their libraries.
//
// It needs binaries that `make setup` installs; a missing one fails the test.
// It knows nothing of Understudy, so that any package's tests can use it.
//
// A server takes about half a second to start. Tests that need no server of
// their own share one per package:
//
//	func TestMain(m *testing.M) { os.Exit(server.Run(m)) }
//
//	func TestX(t *testing.T) { url := server.SharedMinIO(t).NewBucket(t) … }
package server
