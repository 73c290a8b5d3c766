package staging

import (
	"fmt"
	"time"
)

// StageRead says when the content of what is staged was last read whole from the
// disk, and compared with the backup.
type StageRead struct {
	LastRead *time.Time `json:"last_read,omitempty"` // nil: not yet
	Files    int64      `json:"files"`               // that were read then
	Bytes    int64      `json:"bytes"`
	Unread   int64      `json:"unread_files,omitempty"` // that this agent may not read
}

// String is a part of a sentence.
func (s *StageRead) String() string {
	if s.LastRead == nil {
		return "content not read again yet"
	}
	text := "content last read at " + s.LastRead.UTC().Format(time.DateTime) + " UTC"
	if s.Unread > 0 {
		text += fmt.Sprintf(", without %d files that the agent may not read", s.Unread)
	}
	return text
}

// read says it of what is staged; nil where no source's stage can be read.
func (s *Stage) read() *StageRead {
	if !s.Swapper().Rereadable() {
		return nil
	}
	state, err := s.Swapper().Rereads()
	if err != nil || state.Last == nil {
		return &StageRead{} // the next turn says what is wrong
	}
	last := state.Last
	return &StageRead{LastRead: &last.Ended, Files: last.Files, Bytes: last.Bytes, Unread: last.Unread}
}

// readNote says it at the end of a step.
func (s *Stage) readNote() string {
	read := s.read()
	if read == nil {
		return ""
	}
	return "; " + read.String()
}
