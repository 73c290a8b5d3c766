package blobstore

import (
	"errors"
	"fmt"
	"strings"
)

// Limits on keys, chosen so that a key fits every provider beneath any
// reasonable prefix: an S3 key holds 1,024 bytes, a file name 255.
const (
	MaxKey     = 768
	MaxSegment = 255
)

// oddKeyChars are allowed in a key besides ASCII letters and digits.
const oddKeyChars = "-_.=@+,~!()"

// CheckKey says why a key cannot be stored everywhere, or nil. A key is one or
// more segments with "/" between them; a segment is made of ASCII letters,
// digits and "-_.=@+,~!()", and neither starts nor ends with a dot. "__0x" is
// good in no key: a portable blob library writes it otherwise. Every provider
// refuses other keys with ErrInvalid, so that a key that one store takes is
// good in all.
func CheckKey(key string) error {
	if key == "" {
		return errors.New("the key is empty")
	}
	if len(key) > MaxKey {
		return fmt.Errorf("the key has %d bytes, more than %d", len(key), MaxKey)
	}
	if strings.Contains(key, "__0x") {
		return errors.New(`the key holds "__0x"`)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// CheckPrefix says why no key can begin with the prefix, or nil. A prefix may
// end anywhere within a key.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if strings.HasSuffix(prefix, "/") {
		return CheckKey(strings.TrimSuffix(prefix, "/"))
	}
	return CheckKey(prefix)
}

func checkSegment(segment string) error {
	switch {
	case segment == "":
		return errors.New("the key has an empty segment")
	case segment[0] == '.':
		return fmt.Errorf("the key's segment %q starts with a dot", segment)
	case segment[len(segment)-1] == '.':
		return fmt.Errorf("the key's segment %q ends with a dot", segment)
	case len(segment) > MaxSegment:
		return fmt.Errorf("a segment of the key has %d bytes, more than %d", len(segment), MaxSegment)
	}
	for _, r := range segment {
		if !keyChar(r) {
			return fmt.Errorf("the key's segment %q holds %q", segment, r)
		}
	}
	return nil
}

func keyChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		strings.ContainsRune(oddKeyChars, r)
}
