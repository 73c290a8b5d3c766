// Package datadir is the folder in which an instance remembers what must outlive its process.
// One process at a time has it (Lock). A file in it is replaced atomically and durably, also
// on a disk that is full.
//
//	Dir       the folder: its lock, its files, its folders
//	journal   ha.Journal, in a file that knows itself: a copy of it is told from the original
//	stamp     what tells a file, and a host, from others
//	reserve   room for the journal when the disk is full
//
// # In the folder
//
//	lock             held by the one process that uses the folder
//	journal.json     ha.Journal; written and synced before whatever depends on it
//	config.json      the configuration last in force, with its digest
//	rehearsals.json  ha.Rehearsal of the cached backups, newest first
//	webhooks.json    messages to webhooks that are not delivered yet
//	volumes.json     on which file systems the sources lay
//	kept.json        what interrupted restores had replaced, and is kept
//	events.jsonl     package event
//	cache/           restore.Cache
//	swap/            restore.Swapper's journal
//	scratch/         the sources' temporary data
//	hooks/           the end of what each hook's last run printed
//	reserve          room for the journal when the disk is full
package datadir
