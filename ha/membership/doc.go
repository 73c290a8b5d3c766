// Package membership decides who has a name in a cluster: it examines the bucket, keeps an
// instance's record, and refuses the name to whoever is not its owner.
//
//	CheckStore  proves that the store keeps the promises that everything depends on
//	Registrar   one instance's record, and who else has written it
//	Admission   whether a running instance may use the bucket under its name
package membership
