// Package requests is how somebody asks the machine of package ha for something, and waits
// for its answer. The context of a request says who asks (event.Actor).
//
//	Asking    hands requests to the machine and waits; everything else is built on it
//	Requests  what an operator or an application asks of the active: a backup, a full one,
//	          a pause of the schedule, the start of an application without the bucket
//	Witness   tells who was refused what, and who was let in
//
// What the machine answers comes back by the id of the request (Asking.Answer).
package requests
