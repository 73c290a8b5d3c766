package s3api

import (
	"strings"
	"testing"
)

// FuzzRules: a store's lifecycle rules, which are written back as they were.
func FuzzRules(f *testing.F) {
	for _, text := range []string{
		``, `<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>p/</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`,
		`<LifecycleConfiguration><Rule><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key></Tag></And></Filter></Rule></LifecycleConfiguration>`,
		`<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><LifecycleConfiguration>&c;</LifecycleConfiguration>`,
		`<LifecycleConfiguration>` + strings.Repeat("<a>", 10_000),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parse(text)
		if err != nil {
			return
		}
		for i := range d.Rules {
			_, _ = d.Rules[i].prefix(), d.Rules[i].narrowed()
		}
		again, err := parse(d.encode())
		if err == nil && len(again.Rules) != len(d.Rules) {
			t.Errorf("%d rules became %d", len(d.Rules), len(again.Rules))
		}
	})
}
