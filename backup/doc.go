// Package backup writes and reads backups: restorable points, each a signed
// manifest plus the packs that it refers to. It knows no roles: it does not
// know who is active, and a backup that it has written exists only once a head
// (package ha) names it.
//
// # What is in the bucket
//
// Under the prefix of a cluster, this package writes and reads
//
//	backups/<yyyy-mm-dd>/<id>.json   manifests, created once and never changed
//	salvage/<yyyy-mm-dd>/<id>.json   manifests of salvage backups
//	packs/<aa>/<sha256>              packs; <aa> is the first byte of the digest, in hex
//
// A backup's id is the base name of its key without ".json":
//
//	<utc time: 20060102T150405Z>-e<epoch, 8 digits>-s<sequence, 8 digits>-<4 random bytes, in hex>
//
// Packs are written before the manifest that needs them, and the manifest
// before the head that names it. A pack is named after its content, so writing
// it twice does no harm, and makes it young again.
//
// # Manifest
//
// A manifest is a JWS (package seal: general JSON serialization, HS256) whose
// protected header binds it to the type "manifest", the cluster and its own
// key. It measures at most 64 KiB. Its payload is JSON like this one, of a
// backup in which nothing changed:
//
//	{
//	  "format": 1,
//	  "cluster": "c-1",
//	  "id": "20260301T120500Z-e00000001-s00000002-08290403",
//	  "epoch": 1,
//	  "sequence": 2,
//	  "time": "2026-03-01T12:05:00Z",
//	  "previous": {
//	    "id": "20260301T120000Z-e00000001-s00000001-379011e4",
//	    "epoch": 1,
//	    "sequence": 1,
//	    "key": "backups/2026-03-01/20260301T120000Z-e00000001-s00000001-379011e4.json",
//	    "digest": "8552768355bfd9a37aac832af9c352943b544789f96a550a9cb6e529cef144c7",
//	    "time": "2026-03-01T12:00:00Z"
//	  },
//	  "data_key": "v1.b7eebfd2.vh7b9e2LFa7H_FRAoZTDIec8eTSJDpdGSZiNNWuUbwIR39quenwkCgbt06f_IlWUI_lGfYvbB69J4T0AnRe-bWOROiudqcTea416q5-BNfo0_bcmGWp8GhKrky4",
//	  "instance": "host-a",
//	  "trigger": "schedule",
//	  "application_version": "7",
//	  "agent_version": "1.0",
//	  "duration_seconds": 0,
//	  "size": {
//	    "logical": 53,
//	    "new": 0,
//	    "stored": 0
//	  },
//	  "index": {
//	    "size": 240,
//	    "packs": [
//	      {
//	        "digest": "39b5a435a71742d8089a2e53e4f337ac1446ae40d233338f74a4b154f70af136",
//	        "salt": "eG08xZiqrOzSIO5P9cCCCQ",
//	        "size": 336,
//	        "time": "2026-03-01T12:00:00Z"
//	      }
//	    ],
//	    "chunks": [
//	      {
//	        "id": "veKJ73ZqcVtXFet9oi-aQc2x6OAlxCyj9VTUkkTmgXA",
//	        "pack": 0,
//	        "offset": 24,
//	        "length": 248,
//	        "size": 240
//	      }
//	    ]
//	  },
//	  "sources": [
//	    {
//	      "kind": "value",
//	      "name": "app",
//	      "size": 5,
//	      "root": {
//	        "size": 48,
//	        "chunks": [
//	          "fWszpMVh8mDuw8UFtOmMVDW90_LjfK49NzEMgOLKLng"
//	        ]
//	      }
//	    }
//	  ],
//	  "changed": false
//	}
//
// The digest of a reference is the SHA-256 of the signed object's bytes. It
// pins the predecessor in the manifest, and the newest backup in the head, so
// that a chain can be neither changed nor reordered: along it epochs never
// fall, and sequences always grow. Unknown members are ignored; a reader
// refuses a format number that it does not know.
//
// # From a manifest to the data
//
// The member data_key holds the data keys, wrapped by the shared key. With
// them, index locates the backup's index, which says for every chunk in which
// pack it is, and so lists all the packs that the backup needs (package pack).
// Each source has a root, a stream of chunks, whose content is the source's own
// business (package source): a list of files, or a dump. A stream with a depth
// lists the chunks that hold the list of its chunks.
//
// # Retention
//
// A bucket's own rules delete old objects, with no garbage collection: a
// manifest after R, a pack after R, W and a day. Package retention says why
// nothing goes that is still needed.
package backup
