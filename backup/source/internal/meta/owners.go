package meta

import (
	"os/user"
	"strconv"
)

// OwnerNames finds the names of users and groups, each once.
type OwnerNames struct {
	users, groups map[uint32]string
}

// NewOwnerNames knows no name yet.
func NewOwnerNames() *OwnerNames {
	return &OwnerNames{users: map[uint32]string{}, groups: map[uint32]string{}}
}

// User is the name of a user; "" for none.
func (o *OwnerNames) User(id uint32) string {
	return remember(o.users, id, func() string {
		if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			return u.Username
		}
		return "" // an owner without a name is not an error
	})
}

// Group is the name of a group; "" for none.
func (o *OwnerNames) Group(id uint32) string {
	return remember(o.groups, id, func() string {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			return g.Name
		}
		return ""
	})
}

// OwnerIDs finds the ids that users and groups of another host have here: by
// name, else by number.
type OwnerIDs struct {
	users, groups map[ownerKey]uint32
}

type ownerKey struct {
	name string
	id   uint32
}

// NewOwnerIDs knows no id yet.
func NewOwnerIDs() *OwnerIDs {
	return &OwnerIDs{users: map[ownerKey]uint32{}, groups: map[ownerKey]uint32{}}
}

func (o *OwnerIDs) user(name string, id uint32) uint32 {
	return remember(o.users, ownerKey{name, id}, func() uint32 {
		if u, err := user.Lookup(name); name != "" && err == nil {
			return parseID(u.Uid, id)
		}
		return id
	})
}

func (o *OwnerIDs) group(name string, id uint32) uint32 {
	return remember(o.groups, ownerKey{name, id}, func() uint32 {
		if g, err := user.LookupGroup(name); name != "" && err == nil {
			return parseID(g.Gid, id)
		}
		return id
	})
}

func parseID(s string, otherwise uint32) uint32 {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return otherwise
	}
	return uint32(id)
}

func remember[K comparable, V any](known map[K]V, key K, find func() V) V {
	v, ok := known[key]
	if !ok {
		v = find()
		known[key] = v
	}
	return v
}
