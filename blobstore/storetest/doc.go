// Package storetest helps to test stores and what is built on them.
//
//   - Memory is a store in memory, with lifecycle rules that a test applies at
//     the time it likes.
//   - Faulty is a store that fails at named moments, around any other.
//   - Proxy stands in front of a store's server and spoils what passes: it
//     loses answers, delays requests, strips preconditions, serves stale reads.
//   - Run, RunProcesses, RunNetwork and RunLifecycle are the conformance suite
//     that providers pass, against real servers.
//
// # A new provider
//
// Its tests are one file. For a store that is reached by HTTP:
//
//	func TestMain(m *testing.M) {
//		storetest.Worker(mux.Open) // before all else: the processes of RunProcesses
//		os.Exit(server.Run(m))
//	}
//
//	func TestStoreConforms(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) blobstore.Store { return open(t, newBucket(t)) }, storetest.Leftovers(leftovers))
//	}
//
//	func TestProcessesExcludeEachOther(t *testing.T) {
//		u := newBucket(t)
//		storetest.RunProcesses(t, open(t, u), u, credentials...)
//	}
//
//	func TestNetworkFailuresAreResolved(t *testing.T) {
//		storetest.RunNetwork(t, endpoint, func(t *testing.T) storetest.Dial {
//			u := newBucket(t)
//			return func(endpoint string) blobstore.Store { return open(t, through(u, endpoint)) }
//		}, storetest.Leftovers(leftovers))
//	}
//
// open fails the test if it fails; newBucket makes an empty bucket and returns
// its URL, with a prefix; through puts another endpoint, the proxy's, into
// that URL; endpoint is the server's own, like http://127.0.0.1:9000.
// Leftovers is for what only the provider's own client sees, such as uploads
// that nobody completed; leave it out where there is no such thing.
//
// RunNetwork wants one request for one call (the SDK's own retries are off),
// and wants those kinds of errors for bare statuses that package
// blobstore/internal/edge gives them.
//
// # Stores that lie
//
// A Proxy makes one of any good store, for tests of what is to notice it:
//
//	p := storetest.NewProxy(t, "http://"+minio.Address)
//	strip := storetest.StripConditions(storetest.SignS3(minio.AccessKey, minio.SecretKey, "us-east-1"))
//	p.Inject(storetest.NetFault{When: storetest.Writing, Times: storetest.Forever, Do: strip})
//	p.Inject(storetest.NetFault{Times: storetest.Forever, Do: storetest.StaleReads()})
//	p.Inject(storetest.NetFault{Times: storetest.Forever, Do: storetest.SkewClock(time.Hour)})
//
// and the store is opened with p.URL() as its endpoint. One fault strikes a
// request: the first that matches.
package storetest
