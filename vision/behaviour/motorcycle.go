package behaviour

import (
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
)

// What the rules about a motorcycle and its riders have in common.
const (
	onePerson     = .7              // overlap from which two boxes are one person
	lookMost      = time.Second     // what one look counts for at most
	forgetVehicle = 3 * time.Second // after the vehicle or its riders were last detected
)

// ridersDelays says that a vehicle that is hidden for a moment is the same one.
func ridersDelays() lifecycle.Rule {
	return lifecycle.Rule{Clear: 3 * time.Second, Stale: 5 * time.Second, Miss: 2500 * time.Millisecond}
}

// motorcycles are the classes of the vehicles that rules about riders watch.
var motorcycles = []string{"motorcycle", "motorbike"}

// wantsMotorcycles refuses a rule about a motorcycle and its riders that does not
// look at motorcycles.
func wantsMotorcycles(r Rule) error {
	if len(r.Classes) == 0 || slices.ContainsFunc(r.Classes, func(c string) bool { return slices.Contains(motorcycles, c) }) {
		return nil
	}
	return &events.FieldError{Field: "classes", Reason: "must include motorcycle, or be left out: the rule is about a motorcycle and who rides it"}
}
