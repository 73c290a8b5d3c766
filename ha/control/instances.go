package control

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Instance reads what an instance says of itself. A missing record is an error
// that wraps blobstore.ErrNotFound.
func (s *Store) Instance(ctx context.Context, name string) (*ha.Instance, error) {
	object, _, err := s.Read(ctx, ha.KindInstance, ha.InstanceKey(name), "")
	if err != nil {
		return nil, err
	}
	return object.(*ha.Instance), nil
}

// Instances reads what all instances say of themselves.
func (s *Store) Instances(ctx context.Context) ([]ha.Instance, error) {
	_, names, err := s.List(ctx, ha.InstancesPrefix)
	if err != nil {
		return nil, err
	}
	all := make([]ha.Instance, 0, len(names))
	for _, name := range names {
		rec, err := s.Instance(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, *rec)
	}
	return all, nil
}

// AtURL reads the records of the instances with a URL. One that cannot be verified
// is nobody's.
func (s *Store) AtURL(ctx context.Context, url string) (all []*ha.Instance, err error) {
	if url == "" {
		return nil, nil
	}
	_, names, err := s.List(ctx, ha.InstancesPrefix)
	for _, name := range names {
		rec, err := s.Instance(ctx, name)
		switch {
		case errors.Is(err, blobstore.ErrNotFound), errors.Is(err, ErrUnverified):
		case err != nil:
			return nil, err
		case rec.URL == url:
			all = append(all, rec)
		}
	}
	return all, err
}

// rehearsals are the rehearsals of each backup, as the instances' records tell. One that cannot be
// verified tells nothing.
func (s *Store) rehearsals(ctx context.Context) (map[string][]BackupRehearsal, error) {
	all := make(map[string][]BackupRehearsal)
	_, names, err := s.List(ctx, ha.InstancesPrefix)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		rec, err := s.Instance(ctx, name)
		switch {
		case err == nil:
			AddRehearsals(all, name, rec.Rehearsals)
		case !errors.Is(err, ErrUnverified) && !errors.Is(err, blobstore.ErrNotFound):
			return nil, err
		}
	}
	return all, nil
}

// AddRehearsals adds what one instance has rehearsed, by backup.
func AddRehearsals(all map[string][]BackupRehearsal, instance string, of []ha.Rehearsal) {
	for _, one := range of {
		all[one.Backup] = append(all[one.Backup], BackupRehearsal{Instance: instance, Rehearsal: one})
	}
}
