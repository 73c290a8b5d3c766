package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha/account"
)

// How long a session lasts at most, and without a request of its user's.
const (
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour
)

// maxSessions bounds what sessions take of memory, maxUserSessions what one
// user takes of that: the longest unused one makes room.
const (
	maxSessions     = 10_000
	maxUserSessions = 20
)

// session is one browser that has signed in.
type session struct {
	user     string
	password string // hash of the user's password then: another one ends the session
	turn     uint64 // of the instance's role
	began    time.Time
	used     time.Time
	ended    chan struct{} // closed at the end
}

// sessions are those of one process: they end with it, and with the instance's
// role. Of a token only the hash is kept. It is safe for concurrent use.
type sessions struct {
	now func() time.Time

	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: make(map[[sha256.Size]byte]*session)}
}

// begin gives the token of a new session.
func (s *sessions) begin(u account.User, turn uint64) (token string, made *session) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand says so
	token = base64.RawURLEncoding.EncodeToString(raw[:])
	now := s.now()
	made = &session{user: u.Name, password: u.Password, turn: turn, began: now, used: now, ended: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(now, u.Name)
	s.all[sha256.Sum256([]byte(token))] = made
	return token, made
}

// makeRoom drops what has expired, and the longest unused where there are too
// many.
func (s *sessions) makeRoom(now time.Time, user string) {
	var count int
	var oldest, oldestOfUser [sha256.Size]byte
	for key, other := range s.all {
		if other.expired(now) {
			s.drop(key)
			continue
		}
		if o := s.all[oldest]; o == nil || other.used.Before(o.used) {
			oldest = key
		}
		if other.user != user {
			continue
		}
		count++
		if o := s.all[oldestOfUser]; o == nil || other.used.Before(o.used) {
			oldestOfUser = key
		}
	}
	switch {
	case count >= maxUserSessions:
		s.drop(oldestOfUser)
	case len(s.all) >= maxSessions:
		s.drop(oldest)
	}
}

func (s *session) expired(now time.Time) bool {
	return now.Sub(s.began) >= sessionLife || now.Sub(s.used) >= sessionIdle
}

func (s *sessions) drop(key [sha256.Size]byte) {
	if ended := s.all[key]; ended != nil {
		close(ended.ended)
		delete(s.all, key)
	}
}

// find gives the session with this token, if it has not ended: by time, by a
// change of the instance's role, or because its user is gone or has another
// password. A request that the user has made (not the page by itself) keeps it
// alive.
func (s *sessions) find(token string, turn uint64, users func(string) (account.User, bool), byUser bool) (*session, account.User) {
	if token == "" {
		return nil, account.User{}
	}
	key := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[key]
	if found == nil {
		return nil, account.User{}
	}
	now := s.now()
	u, known := users(found.user)
	if !known || u.Password != found.password || found.turn != turn || found.expired(now) {
		s.drop(key)
		return nil, account.User{}
	}
	if byUser {
		found.used = now
	}
	return found, u
}

// end ends the session with this token.
func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(sha256.Sum256([]byte(token)))
}
