package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

// maxName is the longest name of a database, in bytes. Longer ones the server
// would cut silently.
const maxName = 63

// besideName makes a name from a database's that is not too long and still
// its own.
func besideName(database, suffix string) string {
	if len(database)+len(suffix) <= maxName {
		return database + suffix
	}
	sum := sha256.Sum256([]byte(database))
	suffix = "_" + hex.EncodeToString(sum[:4]) + suffix
	cut := maxName - len(suffix)
	for !utf8.RuneStart(database[cut]) {
		cut--
	}
	return database[:cut] + suffix
}
