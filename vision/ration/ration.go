package ration

import "time"

// Outcomes of a look that Spend itself knows.
const (
	Rate   = "rate_limit" // the camera has had its looks for now
	Spent  = "budget"     // all cameras together have
	Failed = "error"      // the crop or the model failed
)

// Ration is what one camera may look at. It is used by one goroutine.
type Ration struct {
	perSecond float64
	budget    *Budget
	count     Counters
	left      float64 // looks
	last      time.Time
}

// New allows perSecond looks in a second of the recording's time, within what
// all cameras may spend; a nil budget is unlimited.
func New(perSecond float64, budget *Budget, count Counters) *Ration {
	return &Ration{perSecond: perSecond, budget: budget, count: count, left: perSecond}
}

// Refill adds the looks that the time since the last scene allows. A second's
// worth may be saved up.
func (r *Ration) Refill(at time.Time) {
	if !r.last.IsZero() {
		gone := min(max(at.Sub(r.last).Seconds(), 0), 1)
		r.left = min(r.left+gone*r.perSecond, r.perSecond)
	}
	r.last = at
}

// Spend looks at what is wanted, the most urgent first, as far as the ration
// goes, and counts what came of each. look returns its outcome. Where some looks
// failed and none did not, Spend returns the last error.
func Spend[T any](r *Ration, wanted []T, look func(T) (outcome string, err error)) error {
	var failed error
	done := 0
	for _, w := range wanted {
		if r.left < 1 {
			r.count.Count(Rate)
			continue
		}
		if !r.budget.Allow() {
			r.count.Count(Spent)
			continue
		}
		r.left--
		var outcome string
		spent, err := r.budget.Time(func() (err error) {
			outcome, err = look(w)
			return err
		})
		r.count.spend(spent)
		if err != nil {
			failed, outcome = err, Failed
		} else {
			done++
		}
		r.count.Count(outcome)
	}
	if done > 0 {
		return nil
	}
	return failed
}
