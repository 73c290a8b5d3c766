// Package upkeep keeps what lies in the bucket, and in this instance's cache, as it
// should be: it deletes what has expired and no rule of the bucket deletes, renews the
// newest backup before it expires, and finds, tells of, and puts back what somebody
// deleted or damaged.
//
//	Rules     by which rules the bucket deletes, and what they leave of the retention
//	Locks     how long objects are locked
//	Sweeper   deletes what has expired
//	Newest    watches the newest backup's age, and renews its objects
//	Packs     finds packs that are missing or damaged, and puts them back
//	Objects   finds small objects that are missing or damaged, and puts them back
//	Scrubber  reads the cache in rotation
//
// Each part is given a Host, and does a turn whenever it is told to; a turn returns
// when the next one is due. The parts decide nothing about roles.
package upkeep
