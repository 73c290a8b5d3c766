package swap

import (
	"errors"
	"fmt"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// TestASwapsStateSaysWhatMayBeDone goes through every state that can be read off what
// there is.
func TestASwapsStateSaysWhatMayBeDone(t *testing.T) {
	const remade = "x was made again in the midst of a swap"
	say := func(err error) string {
		switch {
		case err == nil:
			return ""
		case errors.Is(err, ErrNothingStaged):
			return "nothing"
		case errors.Is(err, source.ErrUnfinished):
			return "unfinished"
		}
		return err.Error()
	}
	for _, tt := range []struct {
		state                State
		reach                source.Reach
		done                 bool
		swap, back, discards string
	}{
		{State{}, source.ReachNone, false, "nothing", "", ""},
		{State{Target: true}, source.ReachNone, false, "nothing", "", ""},
		{State{Staged: true}, source.ReachStaged, false, "", "", ""},
		{State{Staged: true, Target: true}, source.ReachStaged, false, "", "", ""},
		{State{Staged: true, Target: true, Moved: true}, source.ReachBegun, false, "", "", "unfinished"},
		{State{Staged: true, Replaced: true}, source.ReachBegun, false, "", "", "unfinished"},
		{State{Staged: true, Absent: true}, source.ReachBegun, false, "", "", "unfinished"},
		{State{Staged: true, Target: true, Replaced: true}, source.ReachBegun, false, remade, remade, "unfinished"},
		{State{Staged: true, Target: true, Absent: true}, source.ReachBegun, false, remade, remade, "unfinished"},
		{State{Target: true, Replaced: true}, source.ReachPlaced, true, "", "", ""},
		{State{Target: true, Absent: true}, source.ReachPlaced, true, "", "", ""},
		{State{Replaced: true}, source.ReachBegun, false, "nothing", "", "unfinished"},
		{State{Absent: true}, source.ReachBegun, false, "nothing", "", ""},
	} {
		t.Run(fmt.Sprintf("%+v", tt.state), func(t *testing.T) {
			if got := tt.state.Reach(); got != tt.reach {
				t.Errorf("reach %v", got)
			}
			done, err := tt.state.CheckSwap("x")
			if done != tt.done || say(err) != tt.swap {
				t.Errorf("swap: %t, %v", done, err)
			}
			begun, err := tt.state.CheckSwapBack("x")
			if begun != (tt.state.Replaced || tt.state.Absent) || say(err) != tt.back {
				t.Errorf("swap back: %t, %v", begun, err)
			}
			if err := tt.state.CheckDiscard(); say(err) != tt.discards {
				t.Errorf("discard: %v", err)
			}
		})
	}
}
