package account

import (
	"testing"

	"github.com/alexedwards/argon2id"
)

// FuzzPasswordHash: a hash decides how much memory a sign-in takes.
func FuzzPasswordHash(f *testing.F) {
	for _, text := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=4294967295,p=255$$", "$argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA", "$$$$$",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !affordable(text) {
			return
		}
		with, _, key, err := argon2id.DecodeHash(text)
		if err != nil || with.Memory > maxMemory || with.Iterations > maxIterations || with.Parallelism == 0 || len(key) != int(hashing.KeyLength) {
			t.Errorf("%q is taken: %+v, %v", text, with, err)
		}
	})
}
