// Package control reads and writes the control objects of a cluster in its bucket,
// and reads what they and the manifests tell: the chain of backups, and the audit log.
// It needs no running agent, and decides nothing about roles.
//
// Start with Open. A Store reads and writes single objects; each is signed, and is
// verified when it is read. On top of it are
//
//	Chain      the backups: lists of them, one by its id, which branch it is on
//	AuditLog   what happened to the cluster, newest first
//	Takeover   how the present epoch began, and what was salvaged since
//	Promise    what the bucket's lifecycle rules must be
//	Resign     brings an object under the present key
//
// What was read once and cannot change is remembered by a Chain and an AuditLog, so
// an agent keeps one of each; a command makes one for a single question.
package control
