package ha_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// The examples show each control object as it is signed: the payload of its
// JWS.

func show(v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	fmt.Println(string(b))
}

var (
	at     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hostA  = ha.Peer{Name: "host-a", URL: "https://host-a:7878", Incarnation: "0b8e54a1c7d2f693"}
	hostB  = ha.Peer{Name: "host-b", URL: "https://host-b:7878", Incarnation: "9f31c2d4e5a60718"}
	newest = &backup.Ref{
		ID: "20260301T115500Z-e00000003-s00000041-5d2c9a", Epoch: 3, Sequence: 41,
		Key:    "backups/2026-03-01/20260301T115500Z-e00000003-s00000041-5d2c9a.json",
		Digest: "9b74c9897bac770ffc029102a200c5de", Time: time.Date(2026, 3, 1, 11, 55, 0, 0, time.UTC),
	}
)

func ExampleCluster() {
	show(ha.Cluster{Format: 1, ID: "c0ffee00c0ffee00", Time: at})
	// Output:
	// {
	//   "format": 1,
	//   "id": "c0ffee00c0ffee00",
	//   "time": "2026-03-01T12:00:00Z"
	// }
}

func ExampleHead() {
	show(ha.Head{
		Format: 1, Cluster: "c0ffee00c0ffee00", Epoch: 3, Rev: 1207, Nonce: "1f0a", Active: hostA,
		Newest: newest, Config: "2c26b46b68ffc68f", Fencing: ha.DefaultConfig().Fencing, Time: at,
	})
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "epoch": 3,
	//   "rev": 1207,
	//   "nonce": "1f0a",
	//   "active": {
	//     "name": "host-a",
	//     "url": "https://host-a:7878",
	//     "incarnation": "0b8e54a1c7d2f693"
	//   },
	//   "newest": {
	//     "id": "20260301T115500Z-e00000003-s00000041-5d2c9a",
	//     "epoch": 3,
	//     "sequence": 41,
	//     "key": "backups/2026-03-01/20260301T115500Z-e00000003-s00000041-5d2c9a.json",
	//     "digest": "9b74c9897bac770ffc029102a200c5de",
	//     "time": "2026-03-01T11:55:00Z"
	//   },
	//   "config": "2c26b46b68ffc68f",
	//   "fencing": {
	//     "mode": "available",
	//     "ttl": "1m0s",
	//     "stop_timeout": "20s",
	//     "margin": "10s"
	//   },
	//   "time": "2026-03-01T12:00:00Z"
	// }
}

func ExampleLease() {
	show(ha.Lease{
		Format: 1, Cluster: "c0ffee00c0ffee00", ID: "6fa459ea", Nonce: "77de", Holder: hostB, Purpose: ha.ModeSwitchover,
		TTL: ha.Duration(time.Minute), Epoch: 3, Rev: 1207, Time: at,
	})
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "id": "6fa459ea",
	//   "nonce": "77de",
	//   "holder": {
	//     "name": "host-b",
	//     "url": "https://host-b:7878",
	//     "incarnation": "9f31c2d4e5a60718"
	//   },
	//   "purpose": "switchover",
	//   "ttl": "1m0s",
	//   "epoch": 3,
	//   "rev": 1207,
	//   "time": "2026-03-01T12:00:00Z"
	// }
}

func ExampleConfig() {
	c := ha.DefaultConfig()
	c.Cluster, c.DataKey = "c0ffee00c0ffee00", "wrapped"
	c.Instances = []ha.Member{{Name: "host-a", URL: hostA.URL}, {Name: "host-b", URL: hostB.URL}}
	show(c)
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "frequency": "5m0s",
	//   "retention": "336h0m0s",
	//   "reuse_window": "168h0m0s",
	//   "fencing": {
	//     "mode": "available",
	//     "ttl": "1m0s",
	//     "stop_timeout": "20s",
	//     "margin": "10s"
	//   },
	//   "data_key": "wrapped",
	//   "instances": [
	//     {
	//       "name": "host-a",
	//       "url": "https://host-a:7878"
	//     },
	//     {
	//       "name": "host-b",
	//       "url": "https://host-b:7878"
	//     }
	//   ]
	// }
}

func ExampleMarker() {
	show(ha.Marker{
		Format: 1, Cluster: "c0ffee00c0ffee00", Epoch: 4, Nonce: "03ab", Active: hostB, Old: hostA,
		Mode: ha.ModeFailover, By: "root", Reason: "host-a is on fire", Time: at,
	})
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "epoch": 4,
	//   "nonce": "03ab",
	//   "active": {
	//     "name": "host-b",
	//     "url": "https://host-b:7878",
	//     "incarnation": "9f31c2d4e5a60718"
	//   },
	//   "old": {
	//     "name": "host-a",
	//     "url": "https://host-a:7878",
	//     "incarnation": "0b8e54a1c7d2f693"
	//   },
	//   "mode": "failover",
	//   "by": "root",
	//   "reason": "host-a is on fire",
	//   "time": "2026-03-01T12:00:00Z"
	// }
}

func ExampleAck() {
	show(ha.Ack{Format: 1, Cluster: "c0ffee00c0ffee00", Epoch: 4, Nonce: "5e11", Instance: hostA, Time: at})
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "epoch": 4,
	//   "nonce": "5e11",
	//   "instance": {
	//     "name": "host-a",
	//     "url": "https://host-a:7878",
	//     "incarnation": "0b8e54a1c7d2f693"
	//   },
	//   "time": "2026-03-01T12:00:00Z"
	// }
}

func ExampleSalvageRecord() {
	show(ha.SalvageRecord{Format: 1, Cluster: "c0ffee00c0ffee00", Epoch: 4, Nonce: "8c2d", Instance: hostA, Time: at})
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "epoch": 4,
	//   "nonce": "8c2d",
	//   "instance": {
	//     "name": "host-a",
	//     "url": "https://host-a:7878",
	//     "incarnation": "0b8e54a1c7d2f693"
	//   },
	//   "time": "2026-03-01T12:00:00Z"
	// }
}

func ExampleInstance() {
	show(ha.Instance{
		Format: 1, Cluster: "c0ffee00c0ffee00", Name: "host-b", URL: hostB.URL, Incarnation: hostB.Incarnation, Nonce: "a90c",
		Role: ha.RoleStandby, State: "in sync", Epoch: 3, Version: "1.0.0", Keys: []string{"3f9a1c20"}, Cached: []string{newest.ID}, Newest: newest.ID, Time: at,
	})
	// Output:
	// {
	//   "format": 1,
	//   "cluster": "c0ffee00c0ffee00",
	//   "name": "host-b",
	//   "url": "https://host-b:7878",
	//   "incarnation": "9f31c2d4e5a60718",
	//   "nonce": "a90c",
	//   "role": "standby",
	//   "state": "in sync",
	//   "epoch": 3,
	//   "version": "1.0.0",
	//   "keys": [
	//     "3f9a1c20"
	//   ],
	//   "cached": [
	//     "20260301T115500Z-e00000003-s00000041-5d2c9a"
	//   ],
	//   "newest": "20260301T115500Z-e00000003-s00000041-5d2c9a",
	//   "time": "2026-03-01T12:00:00Z"
	// }
}
